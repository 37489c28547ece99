"""A desk with everything an export may meet: hostile texts, both verdicts, all splits, rulings, pictures."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.cases import NewCase, NewEvidence, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Case, Opinion
from db.rulings import NewRuling, ensure_annotator, rule
from db.vocabulary import Answer, Element, EvidenceKind, Role, Split, Verdict
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import admit
from tests.ooc_app.conftest import drawn_picture

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
IN, OUT, UNSURE = Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT, Answer.UNSURE
HOSTILE = (
    'Two\nlines\r\nand "quotes", commas; semicolons\tand tabs',
    "</script><script>alert(1)</script><!-- & ]]>",
    "=HYPERLINK(\"http://x\",\"y\")",
    "'=already marked",
    "'tis not a formula",
    "@SUM(A1)",
    "-1+1",
    "+1",
    "＝1",  # noqa: RUF001 - a full-width formula
    "line\u2028separator\u2029paragraph\x85next\x0bvertical\x1funit",
    "עברית \u202eright to left\u202c and \u200fmark",
    "中文 😀 e\u0301 \ufeffno-break \ufffd",
    "long " * 20_000 + "caption",
    "| a | b |\n---\n# not a heading `code` {brace} %s %(x)s ${x}",
    "../../etc/passwd",
)  # fmt: skip


def stored_picture(desk: Desk, shade: int) -> NewImage:
    """Take a small picture through the door."""
    image = admit(drawn_picture(shade), desk.images_dir)
    return NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)


def ruled(desk: Desk, case_id: int, name: str, verdict: Answer, rationale: str | None = None) -> None:
    """Rule on a case; without a rationale the first opinion with that verdict is picked."""
    with write_session(desk.sessions) as session:
        same = sa.select(Opinion.id).where(Opinion.case_id == case_id, Opinion.verdict == verdict)
        picked = None if rationale else session.scalar(same.order_by(Opinion.id).limit(1))
        annotator_id = ensure_annotator(session, name, Role.ANNOTATOR)
        new = NewRuling(
            f"{name}-{case_id}", case_id, verdict, picked, rationale, (Element.PLACE,), "A note.", seconds=4.5
        )
        rule(session, annotator_id, new, NOW)


def said(*verdicts: Answer) -> tuple[NewOpinion, ...]:
    """One opinion for each verdict, of the teachers Atlas, Birch and Cedar."""
    return tuple(
        NewOpinion(teacher, verdict, f"{teacher} finds it {verdict}.", 0.5, (Element.PLACE,))
        for teacher, verdict in zip(("Atlas", "Birch", "Cedar"), verdicts, strict=False)
    )


def fill(desk: Desk) -> None:
    """Put agreed, conflicting, settled, held-out and hostile cases on a desk."""
    pictures = [stored_picture(desk, shade) for shade in range(6)]
    found = (NewEvidence(EvidenceKind.IMAGE, "A title", "https://x.example", "1973", "Text"),)
    cases = [
        NewCase("agreed", "A market.", pictures[0], opinions=said(IN, IN), group="g", evidence=found),
        NewCase("agreed on a mistake", "A fire.", pictures[1], Verdict.IN_CONTEXT, opinions=said(OUT, OUT)),
        NewCase(
            "conflict", "A flood.", pictures[2], source="The Post", url="https://post.example/1",
            date="12 March 2021", place="Norvik", note="Left half.", opinions=said(IN, OUT, OUT),
        ),
        NewCase("second conflict", "A storm.", pictures[3], opinions=said(OUT, IN)),
        NewCase("open conflict", "A city.", pictures[3], opinions=said(OUT, IN)),
        NewCase("validation", "A river.", pictures[4], Verdict.OUT_OF_CONTEXT, Split.VALIDATION),
        NewCase("test", "A bridge.", pictures[5], Verdict.IN_CONTEXT, Split.TEST, opinions=said(IN, UNSURE)),
        *(
            NewCase(f"../hostile {number}", text, place=text, opinions=(NewOpinion("=</script>", IN, text),))
            for number, text in enumerate(HOSTILE)
        ),
    ]  # fmt: skip
    with write_session(desk.sessions) as session:
        add_cases(session, "first", cases)
        add_cases(session, "</script> | second", [NewCase("agreed", "Same id, other data set.")])
        ids = {name: id_ for name, id_ in session.execute(sa.select(Case.external_id, Case.id))}
    ruled(desk, ids["conflict"], "maria", OUT)
    ruled(desk, ids["conflict"], "jan", OUT, "The sign is in another language </script>.")
    ruled(desk, ids["second conflict"], "maria", IN)


@pytest.fixture(scope="session")
def full_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a filled desk that is only read."""
    with open_desk(tmp_path_factory.mktemp("full") / "data") as desk:
        fill(desk)
        yield desk


@pytest.fixture
def cache_dir(tmp_path: Path) -> str:
    """Give `datasets` a cache that goes with the test."""
    return str(tmp_path / "cache")
