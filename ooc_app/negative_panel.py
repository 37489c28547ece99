"""Show negatives of a run: the picture, what was chosen, what was rejected, and where that came from.

They are read from the run folder, while they are made as well as after. Pure functions but for that.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from db.vocabulary import PreferenceOrigin
from ooc_app import render
from ooc_app.blind import picture_url
from training.records import Preference, Provenance, RecordError, parsed_lines
from training.state import read_lines

SHOWN_OF_A_KIND: Final = 2
LINES_READ: Final = 400
KIND_WORDS: Final[dict[str, str]] = {
    PreferenceOrigin.WEAKENED: "weakened picture",
    PreferenceOrigin.INJECTED: "injected error",
}


def some_negatives(run_dir: Path) -> list[Preference]:
    """Read the first negatives of each kind; none before the first are made, or where a line is damaged."""
    try:
        return list(_first_of_each(_negatives(run_dir)))
    except (OSError, RecordError):
        return []


def negative_panel(shown: Sequence[Preference]) -> str:
    """Draw negatives side by side; nothing where there are none."""
    if not shown:
        return ""
    cards = "".join(_card(one) for one in shown)
    return f'<section class="negatives"><h2>Negatives</h2><ul>{cards}</ul></section>'


def _negatives(run_dir: Path) -> Iterator[Preference]:
    done = run_dir / "negatives.jsonl"
    if done.exists():
        yield from parsed_lines(done, Preference)
        return
    for batch in read_lines(run_dir / "checkpoints" / "negatives.jsonl"):
        yield from map(Preference.parse, batch["kept"])


def _first_of_each(negatives: Iterable[Preference]) -> Iterator[Preference]:
    seen: Counter[str] = Counter()
    for number, one in enumerate(negatives):
        if number == LINES_READ or all(seen[kind] == SHOWN_OF_A_KIND for kind in KIND_WORDS):
            return
        seen[one.origin] += 1
        if seen[one.origin] <= SHOWN_OF_A_KIND:
            yield one


def _card(one: Preference) -> str:
    address = picture_url(Path(one.case.image).stem)
    return (
        f'<li class="negative"><img src="{escape(address or "")}" alt="" loading="lazy"><div>'
        f"{render.paragraph(one.case.caption, 'negative-caption')}"
        f"<dl><dt>chosen</dt><dd>{render.verdict_chip(one.verdict)} {escape(one.chosen)}</dd>"
        f"<dt>rejected</dt><dd>{render.verdict_chip(one.rejected_side)} {escape(one.rejected)}</dd></dl>"
        f"{render.paragraph(_where_from(one), 'negative-from')}</div></li>"
    )


def _where_from(one: Preference) -> str:
    """Say in a sentence how the rejected rationale was made, and why it counts as worse."""
    kind = KIND_WORDS.get(one.origin, one.origin)
    made = one.provenance
    if made is None:
        return f"{kind}."
    return f"{kind}: {_how(made)}; kept because {_why(made)}."


def _how(made: Provenance) -> str:
    if made.noise_step is not None:
        return f"said by the {made.made_by} at noise step {made.noise_step} of 1,000"
    return f"{made.element} exchanged by {made.made_by}, {made.replacement} for {made.replaced}"


def _why(made: Provenance) -> str:
    likely = f"{made.logp_rejected:.2f} against {made.logp_chosen:.2f} nats a token on the clean picture"
    if made.kept_because == "wrong verdict":
        return f"its verdict is wrong ({likely})"
    return f"it is less likely than the chosen one ({likely})"
