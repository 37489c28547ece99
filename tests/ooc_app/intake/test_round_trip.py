"""What goes out in a format of the desk comes back as it was."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.cases import NewCase, NewEvidence, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Case
from db.views import CaseView, case_views
from db.vocabulary import Answer, Element, EvidenceKind, Split, Verdict
from ooc_app.desk import Desk, open_desk
from ooc_app.export.exporting import export_cases
from ooc_app.intake.entries import Source
from ooc_app.intake.formats import import_file
from ooc_app.intake.images import admit

Picture = Callable[..., bytes]


@pytest.fixture
def full_desk(desk: Desk, picture: Picture) -> Desk:
    """A desk with odd cases of two data sets."""
    stored = admit(picture(), desk.images_dir)
    image = NewImage(stored.sha256, stored.format, stored.width, stored.height, stored.byte_size)
    said = (
        NewOpinion(
            "Atlas",
            Answer.OUT_OF_CONTEXT,
            'Zeile 1\nline 2, "quoted"; тире',
            0.25,
            (Element.PLACE, Element.TIME),
        ),
        NewOpinion("Birch", Answer.UNSURE),
    )
    found = (
        NewEvidence(EvidenceKind.IMAGE, "=title", "https://x", "1973", "text"),
        NewEvidence(EvidenceKind.CAPTION),
    )
    whole = NewCase(
        "1", "=1+1, 中文 עברית 😀", image, Verdict.OUT_OF_CONTEXT, Split.VALIDATION, "g", "bbc", "https://y",
        "12 March", "Norvik", "'=note", found, said,
    )  # fmt: skip
    with write_session(desk.sessions) as session:
        add_cases(session, "a", [whole, NewCase("2", "'tis bare", split=Split.TEST)])
        add_cases(session, "b", [NewCase("1", "Same id, other data set")])
    return desk


def known(desk: Desk) -> list[CaseView]:
    """Every case, but for the numbers of this desk's rows."""
    with desk.sessions() as session:
        views = case_views(session, session.scalars(sa.select(Case.id)).all())
    bare = [
        view._replace(id=0, opinions=tuple(opinion._replace(id=0) for opinion in view.opinions))
        for view in views
    ]
    return sorted(bare, key=lambda view: (view.dataset, view.external_id))


@pytest.mark.parametrize(
    ("name", "file"), [("native", "a.jsonl"), ("csv", "a.csv"), ("hf", "a"), ("label-studio", "a.json")]
)
def test_cases_come_back_as_they_were(name: str, file: str, full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, name, tmp_path / file)
    source = Source(tmp_path / file)
    read_as = "native" if name == "csv" else name
    with open_desk(tmp_path / "other") as other:
        report = import_file(other, read_as, source, full_desk.images_dir)
        assert (report.cases, report.opinions, report.bad, dict(report.left_out)) == (3, 2, [], {})
        expected = known(full_desk)
        if name == "label-studio":  # its pictures are shown copies, so other bytes
            expected = [view._replace(image_sha256=None) for view in expected]
            assert [view._replace(image_sha256=None) for view in known(other)] == expected
        else:
            assert known(other) == expected
    again = import_file(
        full_desk, read_as, source, tmp_path if name == "label-studio" else full_desk.images_dir
    )
    assert (again.cases, again.opinions, again.unchanged) == (0, 0, 3)
