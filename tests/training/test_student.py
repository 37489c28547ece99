"""The student on an untrained model of the shipped one's family."""

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from db.vocabulary import Verdict
from training import drawing, world
from training.base import StudentError
from training.domain import Domain, picture_features
from training.records import CaseInput
from training.student import Student


@pytest.fixture(scope="module")
def student(tiny_student: Path) -> Student:
    return Student.load(str(tiny_student))


def pictures(count: int) -> list[Image.Image]:
    rng = random.Random(0)
    return [drawing.draw(world.sample_scene(rng), seed, height=96, supersample=1) for seed in range(count)]


def cases(count: int) -> list[CaseInput]:
    rng = random.Random(1)
    scenes = [world.sample_scene(rng) for _ in range(count)]
    return [CaseInput("", "", world.caption(scene, world.sample_dateline(rng), rng)) for scene in scenes]


def test_a_place_without_student_is_refused_at_once() -> None:
    for source in ("assets/nowhere", "/nowhere/at/all", "nonsense"):
        with pytest.raises(StudentError, match="no student"):
            Student.load(source)


def test_a_verdict_and_its_probability_come_from_one_number(student: Student) -> None:
    picture, case = pictures(1)[0], cases(1)[0]
    judged = student.judge(picture, case)
    margin = student.margins([picture], [case])[0]
    assert (judged.verdict is Verdict.OUT_OF_CONTEXT) == (margin >= 0)
    assert 0.5 <= judged.probability <= 1


def test_a_batch_answers_as_its_cases_do_alone(student: Student) -> None:
    shown, asked = pictures(4), cases(4)
    alone = [student.margins([picture], [case])[0] for picture, case in zip(shown, asked, strict=True)]
    assert student.margins(shown, asked) == pytest.approx(alone, abs=1e-4)


def test_the_margin_is_what_the_model_gives_the_whole_verdicts_first_tokens(student: Student) -> None:
    common, (in_context, out_of_context) = student.deciding_tokens
    tokenizer = student.processor.tokenizer
    assert common == []
    assert tokenizer.decode([in_context]).strip() == "In"
    assert tokenizer.decode([out_of_context]).strip() == "Out"


def test_a_rationale_streams_to_its_end(student: Student) -> None:
    pieces = list(student.rationale(pictures(1)[0], cases(1)[0], Verdict.IN_CONTEXT, max_tokens=8))
    assert pieces
    assert "<end_of_utterance>" not in "".join(pieces)


def test_a_student_without_domain_says_nothing_of_strangeness(student: Student) -> None:
    assert student.strangeness(student.see(pictures(1))[0]) is None


def test_a_domain_tells_its_own_pictures_from_others(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(500, 8, generator=generator)
    Domain.fit("here", own[:400], own[400:]).save(tmp_path)
    domain = Domain.load(tmp_path)
    assert domain is not None
    assert domain.name == "here"
    assert int((domain.distances(own[400:]) > domain.threshold).sum()) <= 1
    assert bool((domain.distances(own[400:] + 20) > domain.threshold).all())
    assert Domain.load(tmp_path / "nowhere") is None


def test_a_picture_has_one_feature(student: Student) -> None:
    assert picture_features(student.model, torch.zeros(3, 3, 64, 64)).shape == (3, 64)
