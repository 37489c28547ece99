"""The demo world is fair, repeatable, and hard in the way real teachers are."""

import random
from collections import Counter
from dataclasses import replace
from statistics import fmean

import pytest

from db.vocabulary import Answer, Split, Verdict
from training import curriculum, drawing, scripted, world
from training.prompts import QUESTION, VERDICT_TEXT


def test_the_same_seed_makes_the_same_world() -> None:
    first, again = (list(world.build_cases(3, train=40, validation=4, test=8)) for _ in range(2))
    assert first == again
    assert first != list(world.build_cases(4, train=40, validation=4, test=8))
    assert [scripted.opinions(case) for case in first] == [scripted.opinions(case) for case in again]


def test_the_same_scene_and_seed_make_the_same_picture() -> None:
    scene = world.sample_scene(random.Random(1))
    first, again = (drawing.draw(scene, 5, height=64).tobytes() for _ in range(2))
    assert first == again
    assert first != drawing.draw(scene, 6, height=64).tobytes()


@pytest.mark.parametrize("fact", list(world.FACTS))
def test_every_value_of_every_fact_changes_the_picture(fact: str) -> None:
    scene = world.Scene("market", "castle", "day", "clear", "few")
    pictures = {
        drawing.draw(replace(scene, **{fact: value}), 5, height=64).tobytes() for value in world.FACTS[fact]
    }
    assert len(pictures) == len(world.FACTS[fact])


def test_an_out_of_context_caption_says_what_differs() -> None:
    for case in world.build_cases(0, train=200, validation=0, test=0):
        differing = [name for name in world.FACTS if case.scene.fact(name) != case.claimed.fact(name)]
        assert (case.gold is Verdict.OUT_OF_CONTEXT) == bool(differing)
        for name in differing:
            said = world.PHRASES[name][case.claimed.fact(name)]
            assert any(text.lower() in case.caption.lower() for text in said)


def test_cases_of_one_picture_share_group_and_split() -> None:
    splits: dict[str, set[Split]] = {}
    cases = list(world.build_cases(0, train=60, validation=20, test=30))
    for case in cases:
        splits.setdefault(case.group, set()).add(case.split)
    assert all(len(split) == 1 for split in splits.values())
    assert Counter(case.split for case in cases) == {Split.TRAIN: 60, Split.VALIDATION: 20, Split.TEST: 30}
    assert Counter(case.gold for case in cases) == {Verdict.IN_CONTEXT: 55, Verdict.OUT_OF_CONTEXT: 55}


def test_the_scripted_teachers_err_as_real_ones_do() -> None:
    cases = list(world.build_cases(0))
    said = [[opinion.verdict for opinion in scripted.opinions(case)] for case in cases]
    gold = [Answer(case.gold) for case in cases]
    for teacher in range(3):
        accuracy = fmean(row[teacher] == right for row, right in zip(said, gold, strict=True))
        assert 0.75 <= accuracy <= 0.85
    agreed = [len(set(row)) == 1 and Answer.UNSURE not in row for row in said]
    wrong = [ok and row[0] != right for ok, row, right in zip(agreed, said, gold, strict=True)]
    assert 0.15 <= 1 - fmean(agreed) <= 0.30
    assert 0.05 <= fmean(wrong) <= 0.08


def test_pretraining_never_shows_the_verdict_task() -> None:
    rng = random.Random(0)
    for number in range(3_000):
        made = curriculum.exercise(world.sample_scene(rng), rng, both_sides=number % 2 == 1)
        assert QUESTION not in made.question
        for text in VERDICT_TEXT.values():
            assert made.question.startswith("Repeat:") or text.lower() not in made.question.lower()
            assert made.question.startswith("Repeat:") or text.lower() not in made.answer.lower()


def test_claims_of_an_exercise_stand_in_its_question() -> None:
    rng = random.Random(0)
    for _ in range(500):
        made = curriculum.exercise(world.sample_scene(rng), rng)
        for text, _ in made.claims:
            assert text.lower() in made.question.lower()
        if made.judges:
            says_yes = made.answer.rstrip(".") in {yes for yes, _ in curriculum.ANSWER_PAIRS}
            assert says_yes == all(is_so for _, is_so in made.claims)
