"""`check`: one picture and its caption, judged by the served student."""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ooc_app.commands.terminal import Add, UsageError
from ooc_app.desk import Desk
from ooc_app.intake.fetching import admit_url
from ooc_app.intake.images import admit_file, shown_copy
from ooc_app.serving import Serving
from training.prompts import VERDICT_TEXT


def add_commands(add: Add) -> None:
    """Add `check`."""
    checking = add("check", check_command)
    checking.add_argument("image", help="a file, or an http(s) address to fetch it from")
    checking.add_argument("--caption", required=True)
    checking.add_argument("--date", help="the date the caption claims")
    checking.add_argument("--place", help="the place the caption claims")


def check_command(desk: Desk, given: argparse.Namespace) -> int:
    """Ask the served student about one picture and its caption."""
    caption = given.caption.strip()
    if not caption:
        raise UsageError("The caption is empty: give the text the picture was found under with --caption.")
    with tempfile.TemporaryDirectory(prefix="ooc-check-") as folder:
        if given.image.lower().startswith(("http://", "https://")):
            image = admit_url(given.image, Path(folder))
        else:
            image = admit_file(Path(given.image), Path(folder))
        picture = shown_copy(image.sha256, Path(folder))
        serving = Serving(desk)
        answer = serving.check(picture, caption, given.date, given.place)
        pieces = serving.rationale(picture, caption, given.date, given.place, answer.verdict)
        if given.json:
            rationale = "".join(list(pieces)[-1:])
            print(json.dumps({**asdict(answer), "rationale": rationale, "notes": image.notes}))
            return 0
        for note in image.notes:
            print(f"Note: {note}")
        if answer.warning:
            print(f"Warning: {answer.warning}")
        verdict = VERDICT_TEXT[answer.verdict]
        print(f"{verdict}, probability {answer.probability:.2f}. {answer.words}")
        _print_growing(pieces)
    return 0


def _print_growing(texts: Any) -> None:
    shown = 0
    for text in texts:
        print(text[shown:], end="", flush=True)
        shown = len(text)
    print()
