"""The shipped student at work: what it knows, what it says of what it does not know."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from db.vocabulary import Verdict
from ooc_app.__main__ import main
from ooc_app.desk import Desk, open_desk
from ooc_app.serving import Serving, ServingError
from training import drawing, world
from training.calibrate import Band, Fit
from training.config import located
from training.records import CaseInput

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos" / "images"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("serving") / "data") as opened:
        yield opened


@pytest.fixture(scope="module")
def serving(desk: Desk) -> Serving:
    return Serving(desk)


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serve the student of the shipped run, which writes rationales."""
    with pytest.MonkeyPatch.context() as setting:
        setting.setenv("OOC_STUDENT", "assets/demo-run")
        with open_desk(tmp_path_factory.mktemp("distilled") / "data") as opened:
            serving = Serving(opened)
            yield serving
            serving.close()


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


def small_pictures(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(count)]
    for seed, path in enumerate(paths):
        scene = world.sample_scene(random.Random(seed))
        drawing.draw(scene, seed, height=64, supersample=1).save(path)
    return paths


def test_a_hundred_checks_by_ten_clients_are_answered_as_one_by_one(
    desk: Desk, serving: Serving, tmp_path: Path
) -> None:
    paths = small_pictures(tmp_path, 25) * 4
    captions = [f"A {event} by the castle." for event in ("market", "fire", "flood", "match")]
    questions = [(path, captions[number // 25]) for number, path in enumerate(paths)]
    with ThreadPoolExecutor(10) as clients:
        together = list(clients.map(lambda asked: serving.check(*asked), questions))
    alone = Serving(desk)
    for answer, asked in list(zip(together, questions, strict=True))[::9]:
        one = alone.check(*asked)
        assert answer.probability == pytest.approx(one.probability, abs=2e-4)
        assert (answer.verdict, answer.warning) == (one.verdict, one.warning)
    alone.close()


def test_a_picture_is_looked_at_once_and_a_prompt_read_once(
    distilled: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = distilled
    path = tmp_path / "new.png"
    drawing.draw(world.sample_scene(random.Random(99)), 99, height=64, supersample=1).save(path)
    student, _ = serving._current()
    seen, read = [], []
    see_pictures, read_prompts = student.see, student.read

    def see(pictures: Any) -> Any:
        seen.append(len(pictures))
        return see_pictures(pictures)

    def counting(sights: Any, cases: Any) -> Any:
        read.append(len(cases))
        return read_prompts(sights, cases)

    monkeypatch.setattr(student, "see", see)
    monkeypatch.setattr(student, "read", counting)
    caption = "A market by the bridge, seen once."
    answer = serving.check(path, caption)
    [*_, said] = serving.rationale(path, caption, None, None, answer.verdict)
    serving.check(path, "Another caption of the same picture.")
    assert (seen, read) == ([1], [1, 1])
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    alone = student.rationale(picture, CaseInput("", "", caption), answer.verdict)
    assert said == "".join(alone).strip()


def test_a_check_is_answered_while_a_rationale_is_written(distilled: Serving, tmp_path: Path) -> None:
    serving = distilled
    first, second = small_pictures(tmp_path, 2)
    writing = serving.rationale(first, "A market.", None, None, Verdict.OUT_OF_CONTEXT)
    begun = next(writing)
    assert serving.check(second, "A fire by the tower.").probability >= 0.5
    assert [*writing][-1].startswith(begun)


def test_a_picture_that_is_gone_fails_alone(serving: Serving, drawn: Path) -> None:
    with pytest.raises(FileNotFoundError):
        serving.check(drawn.parent / "gone.jpg", "A market.")
    assert serving.check(drawn, "A market.").probability >= 0.5


def test_what_is_in_the_band_is_said_not_to_be_told(desk: Desk, drawn: Path) -> None:
    serving = Serving(desk)
    serving._current()[0].fit = Fit(band=Band(1.01, 0.1, 0, 0))
    answer = serving.check(drawn, "A market by the castle.")
    assert answer.cannot_tell
    assert answer.words.startswith("Cannot tell. ")
    assert answer.verdict in set(Verdict)
    serving.close()


def test_reliance_words_and_parts_come_from_the_served_student(serving: Serving, drawn: Path) -> None:
    caption = "A market by the castle in Norvik."
    verdict = serving.check(drawn, caption).verdict
    assert serving.reliance(drawn, caption).verdict is verdict
    *words_read, words = serving.words_that_carry(drawn, caption)
    *parts_read, parts = serving.parts_that_carry(drawn, caption)
    assert not isinstance(words, int)
    assert not isinstance(parts, int)
    assert (words_read, words.verdict) == ([4], verdict)
    assert (parts_read, parts.verdict) == ([8, 16, 24, 32, 37], verdict)
    assert serving.prompts_to_look_closer(caption) == 4 + 37


def test_another_student_is_noticed_at_the_next_check(
    tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ["assets/student"]
    monkeypatch.setattr(Desk, "student_source", lambda _: located(served[-1]))
    with open_desk(tmp_path / "data") as desk:
        serving = Serving(desk)
        serving.begin_loading()
        assert serving.state() in {"loading", "ready"}
        before = serving.check(drawn, "A market by the castle.")
        served.append("assets/demo-run")
        after = serving.check(drawn, "A market by the castle.")
        serving.close()
    assert (before.student, after.student) == ("assets/student", "assets/demo-run")
    assert before.probability != after.probability
