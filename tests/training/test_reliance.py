"""A student that has never needed a picture is exposed; the shipped one, which looks, is not."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.functional import binary_cross_entropy_with_logits

from db.vocabulary import Verdict
from training import drawing, world
from training.calibrate import Fit, Turned
from training.records import CaseInput
from training.reliance import NOISE_STEPS, STILL_BELOW, blank, moved, reliance, turned
from training.student import Student

LOUD = {"flood", "fire", "protest", "parade"}
"""Events whose captions the student of captions calls out of context, whatever the picture."""
STEPS = 60
BLIND = "The answer does not depend on the picture: treat it as a guess about the text."


def asked_and_shown(count: int, seed: int) -> list[tuple[CaseInput, Image.Image, bool]]:
    """Draw captions, a picture of another scene each, and whether the caption's event is in LOUD."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        claimed, shown = world.sample_scene(rng), world.sample_scene(rng)
        caption = world.caption(claimed, world.sample_dateline(rng), rng)
        picture = drawing.draw(shown, seed + number, height=64, supersample=1)
        made.append((CaseInput("", "", caption), picture, claimed.event in LOUD))
    return made


@pytest.fixture(scope="module")
def caption_only(tiny_student: Path, one_thread: None) -> Student:
    """Train a student on the words of captions, under other pictures at every step."""
    torch.manual_seed(0)
    student = Student.load(str(tiny_student))
    made = asked_and_shown(64, 0)
    inputs, (in_context, out_of_context) = student._inputs(
        [shown for _, shown, _ in made], [asked for asked, _, _ in made]
    )
    wanted = torch.tensor([float(is_out) for *_, is_out in made])
    student.model.train()
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=3e-3)
    pixels = inputs.pop("pixel_values")
    for _ in range(STEPS):
        shuffled = pixels[torch.randperm(len(pixels))]
        logits = student.model(**inputs, pixel_values=shuffled, logits_to_keep=1).logits[:, -1]
        loss = binary_cross_entropy_with_logits(logits[:, out_of_context] - logits[:, in_context], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    student.model.eval()
    assert float(loss.detach()) < 0.1, "it has learnt the words"
    return student


@pytest.fixture(scope="module")
def shipped() -> Student:
    return Student.load("assets/demo-run")


def drawn(count: int, seed: int) -> list[tuple[CaseInput, Image.Image, Verdict]]:
    """Draw cases of the demo world, of both verdicts."""
    return [
        (
            CaseInput("", "", one.caption),
            drawing.draw(one.scene, one.picture_seed, height=96, supersample=1),
            one.gold,
        )
        for one in world.build_cases(seed, train=0, validation=count, test=0)
    ]


def test_log_odds_that_never_move_count_nothing_and_changed_sides_count_whole() -> None:
    assert moved(3.0, [3.0, 3.0]) == 0
    assert moved(3.0, [-1.0, -9.0]) == 1
    assert moved(3.0, [1.0]) == 0.5
    assert moved(0.0, [0.0]) == 0


def test_a_student_of_captions_is_exposed(caption_only: Student, tmp_path: Path) -> None:
    asked_about = asked_and_shown(24, 500)
    found = [
        one
        for asked, shown, _ in asked_about
        if (one := reliance(caption_only, shown, asked)).number < STILL_BELOW
    ]
    assert len(found) >= 0.9 * len(asked_about), "but for log-odds near 0, which anything moves"
    at_home = [one for one in found if one.verdict is Verdict.IN_CONTEXT]
    away = [one for one in found if one.verdict is Verdict.OUT_OF_CONTEXT]
    assert at_home
    assert away
    assert all(one.depends is False and one.sentence == BLIND for one in at_home)
    assert all(one.depends is None for one in away), "nothing is known of the student as a whole yet"

    cases = []
    for number, (asked, shown, _) in enumerate(asked_and_shown(32, 900)):
        shown.save(tmp_path / f"{number}.png")
        cases.append(replace(asked, image=f"{number}.png"))
    counts = Turned(**turned(caption_only, tmp_path, cases)["turned"])
    assert counts.cases >= 10
    assert counts.turned <= 0.1 * counts.cases
    caption_only.fit = Fit(turned=counts)
    again = [reliance(caption_only, shown, asked) for asked, shown, _ in asked_about]
    blind = [one for one in again if one.depends is False and one.sentence == BLIND]
    assert len(blind) == len(found)


def test_the_shipped_student_is_not_exposed(shipped: Student, tmp_path: Path, one_thread: None) -> None:
    cases = []
    for number, (asked, shown, _) in enumerate(drawn(40, 5)):
        shown.save(tmp_path / f"{number}.png")
        cases.append(replace(asked, image=f"{number}.png"))
    shipped.fit = replace(shipped.fit, turned=Turned(**turned(shipped, tmp_path, cases)["turned"]))
    for asked, shown, _ in drawn(10, 6):
        found = reliance(shipped, shown, asked)
        assert found.depends is True
        assert found.sentence != BLIND
        if found.verdict is Verdict.IN_CONTEXT:
            assert found.number > STILL_BELOW
            assert found.blank < 0.5


def test_the_curve_begins_at_the_verdict_and_says_what_it_cost(shipped: Student, one_thread: None) -> None:
    asked, shown, _ = drawn(2, 7)[0]
    found = reliance(shipped, shown, asked)
    judged = shipped.judge(shown, asked)
    assert found.verdict is judged.verdict
    assert found.probability == pytest.approx(judged.probability, abs=1e-5)
    assert tuple(step for step, _ in found.curve) == NOISE_STEPS
    assert found.curve[0][1] == pytest.approx(found.probability, abs=0.01)
    assert found.forwards == 8
    assert found == reliance(shipped, shown, asked), "the noise is drawn with a seed"


def test_a_blank_is_of_one_colour_and_the_same_size() -> None:
    shown = Image.new("RGB", (4, 2), (10, 20, 30))
    assert blank(shown).getcolors() == [(8, (10, 20, 30))]
    assert turned(None, Path(), []) == {}  # type: ignore[arg-type]  # nothing is asked of nobody
