"""The demo desk's guidelines: the product's own, with worked examples from the demo's held-out cases.

Examples come from the validation split, so that nobody is told the answer to a case they may get.
"""

import random
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from db.models import Case
from db.vocabulary import Split, Verdict
from ooc_app import guidelines
from ooc_app.desk import Desk
from training.world import ELEMENTS, FACTS, WorldCase, seen

EXAMPLES = ("landmark", "time", None)  # which fact is wrong; None: in context


def write(desk: Desk, dataset: str, cases: Iterable[WorldCase]) -> None:
    """Write version 1 of the guidelines where there is none."""
    if guidelines.version_in_force(desk.data_dir):
        return
    chosen = list(_chosen(cases))
    with desk.sessions() as session:
        query = sa.select(Case.external_id, Case.image_sha256).where(Case.dataset == dataset)
        rows = session.execute(query.where(Case.external_id.in_([case.id for case in chosen])))
        pictures: dict[str, str | None] = {name: sha256 for name, sha256 in rows}
    own = guidelines.in_force(desk.data_dir).text
    told = [_told(number, case, pictures.get(case.id)) for number, case in enumerate(chosen, 1)]
    try:
        guidelines.save(desk.data_dir, "\n".join([own, "## Worked examples\n", *told]), after=0)
    except guidelines.ChangedMeanwhileError:
        return  # an editor was quicker, and has the last word


def _chosen(cases: Iterable[WorldCase]) -> Iterator[WorldCase]:
    held_out = [case for case in cases if case.split == Split.VALIDATION]
    for wanted in EXAMPLES:
        wrong = [wanted] if wanted else []
        found = next((case for case in held_out if _wrong(case) == wrong), None)
        if found is not None:
            yield found


def _wrong(case: WorldCase) -> list[str]:
    """The facts that the caption gets wrong."""
    return [name for name in FACTS if case.scene.fact(name) != case.claimed.fact(name)]


def _told(number: int, case: WorldCase, sha256: str | None) -> str:
    """One example as Markdown: picture, caption, and why."""
    lines = [f"### {number}. " + ("In context" if case.gold == Verdict.IN_CONTEXT else "Out of context"), ""]
    if sha256:
        lines += [f"![The picture of example {number}](desk/images/{sha256})", ""]
    lines += [f"> {case.caption}", ""]
    for name in _wrong(case):
        shown = seen(case.scene, name, random.Random(case.id))
        reason = ELEMENTS[name].value
        lines += [
            f"The caption says “{case.said[name]}”; the picture shows {shown}. Reason: **{reason}**. "
            "That the rest fits does not help.",
            "",
        ]
    if not _wrong(case):
        lines += [
            "Everything the caption says that can be seen is there. Town and date cannot be seen, so "
            "they do not count against it.",
            "",
        ]
    return "\n".join(lines)
