"""The shipped student at work: what it knows, what it says of what it does not know."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.vocabulary import Verdict
from ooc_app.__main__ import main
from ooc_app.desk import Desk, open_desk
from ooc_app.serving import Serving, ServingError
from training import drawing, world
from training.wording import in_words

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos" / "images"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("serving") / "data") as opened:
        yield opened


@pytest.fixture(scope="module")
def serving(desk: Desk) -> Serving:
    return Serving(desk)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    scene = world.sample_scene(random.Random(4))
    path = tmp_path / "drawn.jpg"
    drawing.draw(scene, 4).save(path, "JPEG", quality=90)
    return path


def test_a_drawing_is_answered_without_warning_and_with_the_domain_named(
    serving: Serving, drawn: Path
) -> None:
    answer = serving.check(drawn, "A market by the castle in Norvik.")
    assert answer.domain == "demo world"
    assert answer.warning is None
    assert answer.student == "assets/student"
    assert 0.5 <= answer.probability <= 1
    texts = list(serving.rationale(drawn, "A market by the castle.", None, None, answer.verdict))
    assert texts == sorted(texts, key=len)
    assert serving.state() == "ready"


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of ../shared/data are not here")
def test_photographs_are_called_what_they_are(serving: Serving) -> None:
    photos = sorted(PHOTOS.iterdir())
    warned = [serving.check(photo, "A street in Maine.").warning is not None for photo in photos]
    assert sum(warned) >= 0.9 * len(photos)


def test_the_command_line_answers_in_json(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["check", str(drawn), "--caption", "A market by the castle.", "--json"]
    assert main([*argv, "--data", str(tmp_path / "data")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["domain"] == "demo world"
    assert said["verdict"] in set(Verdict)
    assert "rationale" in said


def test_a_student_that_cannot_be_loaded_is_named_at_every_question(
    tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOC_STUDENT", "/nowhere")
    with open_desk(tmp_path / "data") as desk:
        serving = Serving(desk)
        for _ in range(2):
            with pytest.raises(ServingError, match="/nowhere"):
                serving.check(drawn, "A market.")
        assert serving.state().startswith("failed: ")


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.55, "coin toss"), (0.8, "1 in 5"), (0.9, "1 in 10"), (0.999, "1 in 200")],
)
def test_a_probability_is_said_in_plain_words(probability: float, words: str) -> None:
    assert words in in_words(Verdict.OUT_OF_CONTEXT, probability)
