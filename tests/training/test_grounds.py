"""Which words and which parts carry a verdict."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import pytest
from PIL import Image

from db.vocabulary import Verdict
from training import drawing, world
from training.grounds import (
    MOST_WORDS,
    PartGrounds,
    WordGrounds,
    content_spans,
    parts_that_carry,
    without,
    words_that_carry,
)
from training.records import CaseInput
from training.student import Student

G = TypeVar("G", WordGrounds, PartGrounds)


@pytest.fixture(scope="module")
def shipped() -> Student:
    return Student.load("assets/demo-run")


def last(pieces: Iterator[int | G], kind: type[G]) -> G:
    """What comes at the end of pieces."""
    *_, found = pieces
    assert isinstance(found, kind)
    return found


def told(caption: str) -> list[tuple[str, str]]:
    return [(caption[one.start : one.end], one.kind) for one in content_spans(caption)]


@pytest.mark.parametrize("caption", ["", "   ", "in the of", "...", "<b>&amp;</b>", "\u202eabc", "a" * 3000])
def test_odd_captions_are_taken_apart_without_fault(caption: str) -> None:
    for span in content_spans(caption):
        assert 0 <= span.start < span.end <= len(caption)
        assert isinstance(without(caption, span), str)


def test_names_dates_and_numbers_are_told_from_words() -> None:
    caption = "In Port Lannis, 1,200 people fled the fire on 12 March 2014 near the Bank of England."
    assert told(caption) == [
        ("Port Lannis", "name"),
        ("1,200", "number"),
        ("people", "word"),
        ("fled", "word"),
        ("fire", "word"),
        ("12 March 2014", "date"),
        ("Bank of England", "name"),
    ]


def test_words_that_deny_are_left_out_as_others_are() -> None:
    assert ("nobody", "word") in told("A market with nobody in sight.")


def test_a_long_caption_keeps_names_before_words() -> None:
    caption = " ".join(["river"] * 30) + " Norvik 7."
    spans = told(caption)
    assert len(spans) == MOST_WORDS
    assert spans[-2:] == [("Norvik", "name"), ("7", "number")]


def test_a_caption_without_a_span_reads_on() -> None:
    caption = "Norvik: a market, in the rain, with nobody about."
    spans = {caption[one.start : one.end]: one for one in content_spans(caption)}
    assert without(caption, spans["Norvik"]) == "a market, in the rain, with nobody about."
    assert without(caption, spans["rain"]) == "Norvik: a market, in the, with nobody about."


def test_the_one_wrong_word_carries_the_verdict(shipped: Student, one_thread: None) -> None:
    rng = random.Random(3)
    found = 0
    for seed in range(6):
        scene = replace(world.sample_scene(rng), landmark="castle", time="day")
        picture = drawing.draw(scene, seed, height=240, supersample=1)
        claimed = world.phrase(replace(scene, landmark="lighthouse"), "landmark", rng).removeprefix("the ")
        caption = f"{world.phrase(scene, 'event', rng).capitalize()} by the {claimed} in Norvik."
        given = last(words_that_carry(shipped, picture, CaseInput("", "", caption)), WordGrounds)
        most = max(given.words, key=lambda one: one.change)
        assert given.forwards == len(given.words) + 1
        found += (
            given.verdict is Verdict.OUT_OF_CONTEXT
            and caption[most.span.start : most.span.end] in claimed
            and most.change > 1
        )
    assert found >= 4


def test_what_is_covered_moves_the_verdict_only_where_it_matters(shipped: Student, one_thread: None) -> None:
    case = next(
        one
        for one in world.build_cases(77, train=0, validation=6, test=0)
        if one.gold is Verdict.IN_CONTEXT and one.scene.landmark == "windmill"
    )
    picture = drawing.draw(case.scene, case.picture_seed, height=240, supersample=1)
    pieces = list(parts_that_carry(shipped, picture, CaseInput("", "", case.caption)))
    assert pieces[:-1] == [8, 16, 24, 32, 37], "others are answered in between"
    given = last(iter(pieces), PartGrounds)
    changes = [change for row in given.changes for change in row]
    assert given.forwards == 37
    assert [len(row) for row in given.changes] == [6] * 6
    assert max(changes) > 5
    assert sum(abs(change) < 0.5 for change in changes) > 12


def test_a_picture_of_one_colour_has_no_part_that_matters(shipped: Student, one_thread: None) -> None:
    asked = Image.new("L", (90, 60), 90), CaseInput("", "", "A market.")
    given = last(parts_that_carry(shipped, *asked, parts=2), PartGrounds)
    assert [change for row in given.changes for change in row] == pytest.approx([0] * 4, abs=1e-3)
