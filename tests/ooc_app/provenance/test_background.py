from datetime import UTC, datetime
from pathlib import Path

from PIL import Image as Pictures, ImageOps

from db.engine import write_session
from db.models import Check, Image
from db.vocabulary import Verdict
from ooc_app.auth import Person
from ooc_app.checks.background import Background
from ooc_app.desk import Desk
from ooc_app.intake.images import admit_file
from ooc_app.provenance.panel import provenance_panel
from ooc_app.provenance.report import Claims, Provenance
from tests.ooc_app.provenance.conftest import Scene

CLAIMS = Claims("Another caption.")


def met(desk: Desk, person: Person, picture: Path, *, day: int = 2) -> None:
    """Have the desk check a picture under a caption on some day."""
    kept = admit_file(picture, desk.images_dir)
    with write_session(desk.sessions) as session:
        session.merge(Image(sha256=kept.sha256, format=kept.format, width=1, height=1, byte_size=1))
        session.flush()
        session.add(
            Check(
                token=f"{picture.name} {day}",
                image_sha256=kept.sha256,
                caption="Its first caption <b>.",
                verdict=Verdict.IN_CONTEXT,
                probability=0.9,
                rationale="",
                student="s",
                annotator_id=person.annotator_id,
                created_at=datetime(2024, 5, day, tzinfo=UTC),
            )
        )


def inspected(background: Background, person: Person | None, picture: Path) -> Provenance:
    folder = picture.parent / "asked"
    return background.inspect(person, CLAIMS, admit_file(picture, folder), folder)


def test_a_desk_says_where_it_met_a_picture_and_a_visitor_is_not_told(
    desk: Desk, person: Person, scene: Scene, tmp_path: Path
) -> None:
    scene(1).save(tmp_path / "first.png")
    met(desk, person, tmp_path / "first.png")
    mirrored = tmp_path / "mirrored.jpg"
    ImageOps.mirror(scene(1)).save(mirrored, quality=60)
    background = Background(desk)
    found = inspected(background, person, mirrored)
    assert found.seen is not None
    assert [use.caption for one in found.seen for use in one.uses] == ["Its first caption <b>."]
    drawn = provenance_panel(found, thumbnail_url="/desk/thumbs/{}".format)
    assert "mirrored" in drawn
    assert "Its first caption &lt;b&gt;." in drawn
    assert f"/desk/thumbs/{found.seen[0].near.sha256}" in drawn
    stranger = inspected(background, None, mirrored)
    assert stranger.seen is None
    assert "Seen before" not in provenance_panel(stranger)


def test_what_was_asked_twice_alike_stands_once_since_the_first_time(
    desk: Desk, person: Person, scene: Scene, tmp_path: Path
) -> None:
    scene(1).save(tmp_path / "one.png")
    met(desk, person, tmp_path / "one.png", day=3)
    met(desk, person, tmp_path / "one.png", day=1)
    found = inspected(Background(desk), person, tmp_path / "one.png")
    ((use,),) = (one.uses for one in found.seen or ())
    assert use.by == "the student s, asked here 2 times"
    assert use.on_desk_since == datetime(2024, 5, 1, tzinfo=UTC)


def test_the_same_picture_stands_before_one_that_only_may_be_however_early(
    desk: Desk, person: Person, scene: Scene, tmp_path: Path
) -> None:
    scene(1).save(tmp_path / "same.png")
    Pictures.blend(scene(1), scene(2), 0.4).save(tmp_path / "alike.png")
    met(desk, person, tmp_path / "same.png", day=2)
    met(desk, person, tmp_path / "alike.png", day=1)
    found = inspected(Background(desk), person, tmp_path / "same.png")
    assert found.seen is not None
    assert [one.near.is_same for one in found.seen] == [True, False]


def test_pictures_there_was_no_time_for_are_hashed_behind_the_page(
    desk: Desk, person: Person, scene: Scene, tmp_path: Path
) -> None:
    scene(1).save(tmp_path / "first.png")
    met(desk, person, tmp_path / "first.png")
    background = Background(desk)
    background.hashing.acquire()  # as while another check has the pictures hashed
    assert inspected(background, person, tmp_path / "first.png").not_compared == 1
    background.hashing.release()
    background._hash_the_rest()
    assert inspected(background, person, tmp_path / "first.png").not_compared == 0
