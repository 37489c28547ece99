"""`check`: one picture and its caption, or many with theirs, judged by the served student.

One picture leaves nothing behind. Many are a batch of the desk, as on its page: the same command
goes on where it was stopped, and asks nothing twice.
"""

import argparse
import json
import secrets
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from db.batches import Counts, Only, counts, open_batch
from db.checks import NewCheck
from db.engine import write_session
from db.models import Batch
from ooc_app.auth import local_person, now
from ooc_app.checks.frozen import forget
from ooc_app.checks.many import Asked, Done, go_on
from ooc_app.checks.question import CheckRefusedError, admitted, question
from ooc_app.checks.results import FORMATS, report_link, write_results
from ooc_app.checks.rows import TABLES, digest, opened, rows_of
from ooc_app.checks.untouched import NO_RATIONALE, UNTOUCHED, is_untouched
from ooc_app.commands.terminal import Add, UsageError, bar_of
from ooc_app.desk import Desk
from ooc_app.intake.images import shown_copy
from ooc_app.provenance.links import is_web_address
from ooc_app.render import counted
from ooc_app.serving import Serving
from training.prompts import VERDICT_TEXT

SAID: Final[tuple[Only, ...]] = ("out_of_context", "unsure", "in_context", "refused")


def add_commands(add: Add) -> None:
    """Add `check`."""
    checking = add("check", check_command)
    checking.add_argument(
        "image", help="a picture, or its http(s) address; many: a folder, a zip archive, a table"
    )
    checking.add_argument("--caption", help="of one picture")
    checking.add_argument("--date", help="the date the caption claims")
    checking.add_argument("--place", help="the place the caption claims")
    many = checking.add_argument_group("many pictures")
    many.add_argument("--captions", type=Path, help="the table (CSV, JSON lines) of a folder's pictures")
    many.add_argument("--to", type=Path, help="write the answers to a .csv or .jsonl file")
    many.add_argument("--verdicts-only", action="store_true", help="write no rationales: much faster")


def check_command(desk: Desk, given: argparse.Namespace) -> int:
    """Ask the served student about a picture and its caption, or about many."""
    path = Path(given.image)
    is_many = path.is_dir() or path.suffix.lower() in (".zip", *TABLES)
    if is_many and not is_web_address(given.image):
        return check_many(desk, given, path)
    if given.caption is None:
        raise UsageError("Give the caption of the picture with --caption, or a folder, zip archive or table.")
    if not given.caption.strip():
        raise UsageError("The caption is empty: give the text the picture was found under with --caption.")
    return check_one(desk, given)


def check_one(desk: Desk, given: argparse.Namespace) -> int:
    """Answer for one picture; nothing of it is kept."""
    if given.to or given.captions or given.verdicts_only:
        raise UsageError(
            "--to, --captions and --verdicts-only are for many pictures: give a folder or table."
        )
    is_web = is_web_address(given.image)
    image = ("", given.image) if is_web else (given.image, "")
    try:
        asked = question(image[0], given.caption, given.date or "", given.place or "", image[1])
    except CheckRefusedError as refused:
        raise UsageError(str(refused)) from refused
    with tempfile.TemporaryDirectory(prefix="ooc-check-") as folder, closing(Serving(desk)) as serving:
        stored = admitted(asked, Path(folder))
        picture = shown_copy(stored.sha256, Path(folder))
        answer = serving.check(picture, asked.caption, asked.date, asked.place)
        pieces = serving.rationale(picture, asked.caption, asked.date, asked.place, answer.verdict)
        untouched = is_untouched(desk, answer)
        if given.json:
            rationale = "".join(list(pieces)[-1:])
            more = {"rationale": rationale, "notes": stored.notes, "untouched": untouched}
            print(json.dumps({**asdict(answer), **more}))
            return 0
        for note in stored.notes:
            print(f"Note: {note}")
        if answer.warning:
            print(f"Warning: {answer.warning}")
        if untouched:
            print(f"Warning: {UNTOUCHED}")
        verdict = VERDICT_TEXT[answer.verdict]
        print(f"{verdict}, probability {answer.probability:.2f}. {answer.words}")
        _print_growing(pieces)
    return 0


def check_many(desk: Desk, given: argparse.Namespace, path: Path) -> int:
    """Answer for many pictures, as a batch of the local person; what is done is done once."""
    if given.to is not None and given.to.suffix.lower() not in FORMATS:
        raise UsageError(f"{given.to} is neither .csv nor .jsonl: give the results a file of that kind.")
    if (given.caption, given.date, given.place) != (None, None, None):
        raise UsageError("--caption, --date and --place are for one picture: give a table with --captions.")
    owner = local_person(desk).annotator_id
    with closing(opened(path)) as files:
        rows = rows_of(files, given.captions)
        whole = digest(rows, files, verdicts_only=given.verdicts_only)
        with write_session(desk.sessions) as session:
            name = path.resolve().name
            batch = open_batch(
                session, secrets.token_urlsafe(16), name, whole, [row.kept for row in rows], owner, now()
            )
        by_number = {row.number: row for row in rows}
        asked = Asked(batch.id, owner, by_number, files, given.verdicts_only)
        before = _counts(desk, batch)
        _tell(given, "batch", {"rows": before.rows, "done": before.done, "waiting": before.waiting})
        try:
            _answer(desk, given, asked, before)
        except KeyboardInterrupt:
            left = counted(_counts(desk, batch).waiting, "row")
            print(f"Stopped; the same command goes on with the {left} left.", file=sys.stderr)
            return 1
    forget(desk, batch.token)  # the page may have begun it
    if given.to is not None:
        write_results(desk, batch, given.to)
    _tell_end(given, _counts(desk, batch))
    return 0


def _answer(desk: Desk, given: argparse.Namespace, asked: Asked, before: Counts) -> None:
    if not before.waiting:
        return
    with closing(Serving(desk)) as serving, bar_of("check", given) as bar:
        bar.total = before.waiting
        with closing(go_on(desk, serving, asked)) as going:
            for one in going:
                bar.update(1)
                _tell_row(given, one)


def _tell_row(given: argparse.Namespace, one: Done) -> None:
    if isinstance(one.outcome, NewCheck):
        check = one.outcome
        answer = {
            "verdict": check.verdict,
            "probability": check.probability,
            "cannot_tell": check.cannot_tell,
        }
        _tell(given, "row", {"number": one.number, **answer, "report": report_link(check.token)})
    else:
        _tell(given, "row", {"number": one.number, "refused": one.outcome})


def _tell(given: argparse.Namespace, event: str, figures: dict[str, Any]) -> None:
    if given.json:
        print(json.dumps({"event": event, **figures}), flush=True)


def _tell_end(given: argparse.Namespace, standing: Counts) -> None:
    said = {str(name): standing.of(name) for name in SAID}
    if given.json:
        _tell(given, "done", {"rows": standing.rows, **said, "to": str(given.to) if given.to else None})
        return
    print(
        f"{counted(standing.rows, 'row')}: {said['out_of_context']:,} out of context, {said['unsure']:,} "
        f"can't tell, {said['in_context']:,} in context, {said['refused']:,} refused."
    )
    print(f"Written to {given.to}." if given.to else "Give --to FILE.csv or FILE.jsonl for the answers.")


def _counts(desk: Desk, batch: Batch) -> Counts:
    with desk.sessions() as session:
        return counts(session, batch, now())


def _print_growing(texts: Any) -> None:
    shown = 0
    for text in texts:
        print(text[shown:], end="", flush=True)
        shown = len(text)
    print("" if shown else NO_RATIONALE)
