import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.vocabulary import Answer, Split, Verdict
from ooc_app.__main__ import main
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import ImageRefusedError, admit, stored_path
from ooc_app.provenance.panel import provenance_panel
from ooc_app.provenance.report import Claims, Provenance, as_json, inspect
from ooc_app.provenance.seen import catch_up, known_pictures
from tests.ooc_app.provenance.conftest import Scene, Sign, jpeg

AddCase = Callable[..., str]
HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def add(desk: Desk) -> AddCase:
    """Give a function that puts a case on the desk and returns its picture's SHA-256."""

    def added(
        name: str,
        picture: Image.Image,
        *,
        date: str | None = None,
        gold: Verdict | None = None,
        split: Split = Split.TEST,
        says: tuple[Answer, ...] = (),
    ) -> str:
        image = admit(jpeg(picture), desk.images_dir)
        stored = NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)
        said = tuple(NewOpinion(f"Teacher {number}", one, "Because.") for number, one in enumerate(says))
        case = NewCase(name, f"Caption of {name}.", stored, gold=gold, split=split, date=date, opinions=said)
        with write_session(desk.sessions) as session:
            add_cases(session, "archive", [case])
        return image.sha256

    return added


def inspected(desk: Desk, tmp_path: Path, data: bytes, claims: Claims | None = None) -> Provenance:
    image = admit(data, tmp_path / "asked")
    return inspect(image, tmp_path / "asked", desk, claims, known=known_pictures(desk))


def gps_picture(scene: Scene, description: str = "") -> bytes:
    exif = Image.Exif()
    exif[0x010E] = description
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 3.0)})
    return jpeg(scene(1), exif=exif)


def test_what_is_no_picture_is_refused_by_the_door(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(ImageRefusedError):
        inspected(desk, tmp_path, b"no picture")


def test_a_picture_of_the_desk_whose_file_is_gone_keeps_no_other_from_being_found(
    desk: Desk, add: AddCase, scene: Scene, tmp_path: Path
) -> None:
    stored_path(add("gone", scene(1)), desk.images_dir).unlink()
    there = add("there", scene(2))
    found = inspected(desk, tmp_path, jpeg(scene(2), quality=30))
    assert found.seen is not None
    assert [one.near.sha256 for one in found.seen] == [there]
    assert (found.compared, found.not_compared) == (2, 0)


def test_who_has_no_time_is_told_how_many_pictures_were_not_compared(
    desk: Desk, add: AddCase, scene: Scene
) -> None:
    add("one", scene(1))
    known = known_pictures(desk)
    assert catch_up(desk, known, seconds_max=-1) == 1
    assert catch_up(desk, known) == 0
    assert catch_up(desk, known, seconds_max=-1) == 0


def test_a_case_that_waits_for_a_ruling_shows_no_verdict(
    desk: Desk, add: AddCase, scene: Scene, tmp_path: Path
) -> None:
    conflict = (Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT)
    add("conflict", scene(1), gold=Verdict.OUT_OF_CONTEXT, split=Split.TRAIN, says=conflict)
    found = inspected(desk, tmp_path, jpeg(scene(1)))
    assert found.seen is not None
    assert [(use.verdict, use.by) for use in found.seen[0].uses] == [(None, "waits for a ruling")]


def test_a_picture_is_found_with_captions_dates_and_verdicts_the_oldest_first(
    desk: Desk, add: AddCase, scene: Scene, tmp_path: Path
) -> None:
    add("new", scene(1), date="12 March 2021", gold=Verdict.OUT_OF_CONTEXT)
    add("old", scene(1), date="June 1973", gold=Verdict.IN_CONTEXT)
    add("other", scene(2), says=(Answer.IN_CONTEXT, Answer.IN_CONTEXT))
    found = inspected(desk, tmp_path, jpeg(ImageOps.mirror(scene(1)), quality=30))
    assert found.seen is not None
    (seen,) = found.seen
    assert seen.words == "the same picture, mirrored"
    assert [(use.caption, use.claimed_date, use.verdict, use.by) for use in seen.uses] == [
        ("Caption of old.", "June 1973", "in_context", "the data set archive"),
        ("Caption of new.", "12 March 2021", "out_of_context", "the data set archive"),
    ]
    (other,) = inspected(desk, tmp_path, jpeg(scene(2))).seen or ()
    assert other.is_this_file
    assert other.uses[0].by == "all its teachers; nobody has ruled"


def test_who_may_not_see_the_desk_is_shown_none_of_its_pictures(
    desk: Desk, add: AddCase, scene: Scene, tmp_path: Path
) -> None:
    add("old", scene(1))
    found = inspect(admit(jpeg(scene(1)), tmp_path / "asked"), tmp_path / "asked", desk)
    assert found.seen is None
    assert "Caption of old" not in provenance_panel(found)


def test_inspecting_keeps_nothing_of_the_picture(desk: Desk, scene: Scene, tmp_path: Path) -> None:
    before = sorted(desk.data_dir.rglob("*"))
    inspected(desk, tmp_path, jpeg(scene(1)))
    assert sorted(path for path in desk.data_dir.rglob("*") if not path.name.startswith("desk.db")) == [
        path for path in before if not path.name.startswith("desk.db")
    ]


def test_gps_is_nowhere_unless_asked_for(desk: Desk, scene: Scene, tmp_path: Path) -> None:
    found = inspected(desk, tmp_path, gps_picture(scene))
    for hidden in (provenance_panel(found), json.dumps(as_json(found, with_gps=False))):
        assert "48.85" not in hidden
        assert "openstreetmap" not in hidden
    assert "shown on request" in provenance_panel(found)
    assert "mlat=48.85667&amp;mlon=2.35083" in provenance_panel(found, with_gps=True)
    assert as_json(found, with_gps=True)["metadata"]["gps"]["latitude"] == pytest.approx(48.85667, abs=1e-4)


def test_hostile_texts_stay_texts_in_the_panel(
    desk: Desk, add: AddCase, scene: Scene, tmp_path: Path
) -> None:
    add(HOSTILE, scene(1), date=HOSTILE)
    (desk.data_dir / "links.toml").write_text(
        f"[[link]]\nname = '{HOSTILE}'\nurl = 'https://a.example/\"><b'"
    )
    claims = Claims(caption=HOSTILE, date=HOSTILE, place=HOSTILE, url="javascript:alert(1)")
    drawn = provenance_panel(
        inspected(desk, tmp_path, gps_picture(scene, HOSTILE), claims),
        thumbnail_url=lambda sha256: f'/x"><b>{sha256}',
    )
    assert "<script" not in drawn
    assert "<b" not in drawn.replace("<blockquote", "")
    assert "javascript:" not in drawn
    assert drawn.count("&lt;script&gt;") >= 3


def test_links_that_cannot_be_read_leave_the_rest_as_it_is(desk: Desk, scene: Scene, tmp_path: Path) -> None:
    (desk.data_dir / "links.toml").write_text("no toml [")
    found = inspected(desk, tmp_path, jpeg(scene(1)))
    assert found.links == ()
    assert "cannot be read" in provenance_panel(found)


def test_the_panel_names_every_part_and_says_what_absence_means(
    desk: Desk, scene: Scene, sign: Sign, tmp_path: Path
) -> None:
    drawn = provenance_panel(inspected(desk, tmp_path, sign(jpeg(scene(1)))))
    parts = ("Seen before", "Content Credentials", "What the file says", "Look further")
    assert [drawn.index(f"<h2>{part}</h2>") for part in parts] == sorted(
        drawn.index(f"<h2>{part}</h2>") for part in parts
    )
    assert "Valid, unknown signer." in drawn
    assert "says nothing about the rest of the web" in drawn
    assert 'rel="noopener noreferrer"' in drawn
    assert "<img" not in drawn


def test_the_command_says_it_in_lines_and_as_json(
    desk: Desk, add: AddCase, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add("old\x1b[2J", scene(1), date="June 1973")
    (tmp_path / "asked.jpg").write_bytes(gps_picture(scene))
    command = [
        "inspect",
        str(tmp_path / "asked.jpg"),
        "--data",
        str(desk.data_dir),
        "--place",
        "Sydney, Australia",
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "Seen before: the same picture" in printed
    assert "June 1973: Caption of old [2J. [no verdict yet]" in printed
    assert "CONTRADICTION: The file's GPS lies" in printed
    assert "--gps shows it" in printed
    assert main([*command, "--gps", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seen"][0]["uses"][0]["claimed_date"] == "June 1973"
    assert told["metadata"]["gps"]["map"].startswith("https://www.openstreetmap.org/")
    assert told["credentials"]["state"] == "none"
    assert told["compared"] == 1


def test_the_command_refuses_what_is_no_picture_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.jpg").write_text("text")
    assert main(["inspect", str(tmp_path / "text.jpg"), "--data", str(tmp_path / "data")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
