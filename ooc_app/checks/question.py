"""What an analyst asks: a picture, from a file or the web, under the caption it was found with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ooc_app.intake.fetching import admit_url
from ooc_app.intake.images import StoredImage, admit_file
from ooc_app.provenance.links import is_web_address
from ooc_app.provenance.report import Claims

CAPTION_MAX: Final = 2000  # characters; longer than any caption, short enough for the student
CLAIM_MAX: Final = 200  # characters of a claimed date or place


class CheckRefusedError(ValueError):
    """Raised for a question the student cannot be asked; the message is one sentence."""


@dataclass(frozen=True)
class Question:
    """A picture under a caption, claimed to be of this day and place.

    `url` is where the picture was found; it is fetched from there where there is no file.
    """

    picture: Path | None
    caption: str
    date: str | None = None
    place: str | None = None
    url: str | None = None

    @property
    def claims(self) -> Claims:
        """What is claimed of the picture."""
        return Claims(self.caption, self.date, self.place, self.url)


def question(
    picture: str | Path | None, caption: str, date: str = "", place: str = "", url: str = ""
) -> Question:
    """Make a question of what was filled in; raises CheckRefusedError for what is missing or too long."""
    address = url.strip() or None
    if address is not None and not is_web_address(address):
        raise CheckRefusedError("The picture's address does not begin with http:// or https://: mend it.")
    if not picture and address is None:
        raise CheckRefusedError("Add a picture first: drop one, paste it, choose a file or give its address.")
    wanted = caption.strip()
    if not wanted:
        raise CheckRefusedError("Add the caption: the student judges a picture and its caption together.")
    if len(wanted) > CAPTION_MAX:
        raise CheckRefusedError(
            f"The caption has {len(wanted):,} characters; shorten it to at most {CAPTION_MAX:,}."
        )
    claims = date.strip(), place.strip()
    if any(len(claim) > CLAIM_MAX for claim in claims):
        raise CheckRefusedError(f"A claimed date or place has at most {CLAIM_MAX} characters: shorten it.")
    path = Path(picture) if picture else None
    return Question(path, wanted, claims[0] or None, claims[1] or None, address)


def admitted(asked: Question, folder: Path) -> StoredImage:
    """Take a question's picture through the image door into a folder.

    Raises ImageRefusedError for what is no picture, and for an address that gives none.
    """
    if asked.picture is not None:
        return admit_file(asked.picture, folder)
    return admit_url(asked.url or "", folder)
