"""What an answer rests on, as it is drawn from what a check keeps."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from db.vocabulary import Verdict
from ooc_app.checks.grounds_panel import caption_part, picture_part, reliance_part, where
from tests.ooc_app.checks.fixed import HOSTILE
from training.grounds import PartGrounds, Span, WordGround, WordGrounds
from training.reliance import NOISE_STEPS, Reliance

CAPTION = "A fire by the tower of Norvik."
CURVE = tuple(zip(NOISE_STEPS, (0.86, 0.8, 0.71, 0.6, 0.52, 0.5), strict=True))


def kept(found: Any) -> dict[str, Any]:
    """What a check keeps of it, read again."""
    said: dict[str, Any] = json.loads(json.dumps(asdict(found)))
    return said


def relies(depends: bool | None = True, sentence: str = "The answer depends on it.") -> dict[str, Any]:
    return kept(Reliance(Verdict.OUT_OF_CONTEXT, 0.86, CURVE, 0.45, 0.4, depends, sentence, 8))


def words(*changes: tuple[int, int, float]) -> dict[str, Any]:
    grounds = [WordGround(Span(start, end, "word"), change) for start, end, change in changes]
    return kept(WordGrounds(Verdict.OUT_OF_CONTEXT, tuple(grounds), len(grounds) + 1))


def parts(**marked: float) -> dict[str, Any]:
    """A grid of nothing but what is given, as `r2c5=3.0`."""
    rows = [[0.0] * 6 for _ in range(6)]
    for name, change in marked.items():
        rows[int(name[1])][int(name[3])] = change
    return kept(PartGrounds(Verdict.OUT_OF_CONTEXT, tuple(map(tuple, rows)), 37))


@pytest.mark.parametrize("lacking", ["sentence", "verdict", "curve", "blank", "depends"])
def test_a_reliance_that_lacks_something_draws_nothing(lacking: str) -> None:
    whole = relies()
    del whole[lacking]
    assert reliance_part(whole) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("curve", "0.86"),
        ("curve", [[0, "much"]]),
        ("curve", [[0, 0.86, 1]]),
        ("curve", [[0, 7.5]]),
        ("curve", []),
        ("blank", float("nan")),
        ("blank", True),
        ("verdict", None),
    ],
)
def test_a_reliance_of_other_values_draws_nothing(name: str, value: object) -> None:
    assert reliance_part({**relies(), name: value}) == ""


@pytest.mark.parametrize(
    "changes",
    [None, 5, [], [[]], [[1.0], [1.0, 2.0]], [[1.0, None]], [["3"]], [[float("inf")]], "text", [3.0]],
)
def test_a_grid_that_is_none_draws_nothing(changes: object) -> None:
    assert picture_part("/picture", {"changes": changes}) == ""
    assert picture_part("/picture", {}) == ""


@pytest.mark.parametrize(
    "span",
    [(-1, 4), (2, 2), (6, 2), (25, 99), (2.0, 6), (True, 6), (None, 6), ("2", 6)],
)
def test_a_span_that_is_none_of_the_caption_leaves_plain_text(span: tuple[object, object]) -> None:
    ground = {"span": {"start": span[0], "end": span[1], "kind": "word"}, "change": 3.0}
    good = words((2, 6, 3.0))["words"]
    drawn = caption_part(CAPTION, {"words": [ground, *good]})
    assert drawn.count("</span></mark>") == 1
    assert "</mark> by the tower of Norvik." in drawn
    assert "<mark" not in caption_part(CAPTION, {"words": [ground]})


@pytest.mark.parametrize("plain", [{}, {"words": None}, {"words": "fire"}])
def test_words_of_another_version_draw_nothing(plain: dict[str, Any]) -> None:
    assert caption_part(CAPTION, plain) == ""


@pytest.mark.parametrize("one", [None, 3, {}, {"span": None}, {"span": {"start": 2, "end": 6}}])
def test_a_word_that_lacks_something_is_not_marked(one: object) -> None:
    assert "<mark" not in caption_part(CAPTION, {"words": [one]})


def test_spans_that_overlap_are_marked_once() -> None:
    drawn = caption_part(CAPTION, words((2, 6, 3.0), (4, 9, 3.0)))
    assert drawn.count("</span></mark>") == 1
    assert ">fire<" in drawn


def test_hostile_text_stays_text() -> None:
    hostile = f"A fire {HOSTILE} & more"
    drawn = caption_part(hostile, words((2, 6, 3.0), (7, 7 + len(HOSTILE), -3.0)))
    drawn += reliance_part(relies(sentence=HOSTILE)) + reliance_part({**relies(), "verdict": HOSTILE})
    drawn += picture_part('"><script>alert(1)</script>', parts(r0c0=3.0))
    assert "<script" not in drawn
    assert drawn.count("<img") == 1, "the picture itself"
    assert "onerror=&quot;" in drawn


def test_nothing_is_styled_in_line_which_a_report_forbids() -> None:
    drawn = reliance_part(relies()) + caption_part(CAPTION, words((2, 6, 3.0)))
    assert "style=" not in drawn + picture_part("/picture", parts(r0c0=3.0))


def test_the_sentence_comes_before_the_curve_and_warns_where_the_answer_does_not_depend() -> None:
    blind = "The answer does not depend on the picture: treat it as a guess about the text."
    drawn = reliance_part(relies(depends=False, sentence=blind))
    assert drawn.index(blind) < drawn.index("<svg")
    assert "grounds-said warning" in drawn
    assert "warning" not in reliance_part(relies()) + reliance_part(relies(depends=None))


def test_every_value_of_the_curve_is_said_in_words() -> None:
    drawn = reliance_part(relies())
    assert (
        'aria-label="Probability of out of context: clear 0.86, a little noise 0.80, some noise 0.71, '
        'much noise 0.60, hardly anything left 0.52, noise alone 0.50, blank 0.45"' in drawn
    )
    assert drawn.count("<circle") == 7


def test_words_are_marked_by_how_much_they_carry_and_told_apart_from_those_against() -> None:
    drawn = caption_part(CAPTION, words((2, 6, 0.7), (14, 19, 5.0), (23, 29, -2.0), (0, 1, 0.2)))
    assert (
        '<mark class="carries carries-1" title="a little less sure without it (log-odds -0.7)">fire' in drawn
    )
    assert '<mark class="carries carries-3" title="much less sure without it (log-odds -5.0)">tower' in drawn
    assert (
        '<mark class="against against-2" title="clearly more sure without it (log-odds +2.0)">Norvik' in drawn
    )
    assert drawn.count("</span></mark>") == 3, "less than half a nat is not worth a mark"
    assert "Not what is true." in drawn


def test_a_caption_without_a_word_that_carries_says_so() -> None:
    drawn = caption_part(CAPTION, words((2, 6, 0.1)))
    assert "No single word of the caption carries the answer." in drawn
    assert CAPTION not in drawn


def test_parts_are_marked_in_four_steps_and_those_against_otherwise() -> None:
    drawn = picture_part("/picture?a=1&b=2", parts(r0c0=0.6, r0c1=1.2, r0c2=2.5, r0c3=9.0, r5c5=-1.0))
    assert [drawn.count(f'<i class="part-{step}">') for step in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert drawn.count('<i class="part-against">') == 1
    assert drawn.count("<i") == 36 + 2, "36 cells, the picture and the switch"
    assert 'src="/picture?a=1&amp;b=2"' in drawn
    assert '<input type="checkbox" checked>' in drawn


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        ({"r0c0": 3.0}, "The upper left carries it most."),
        ({"r2c3": 1.0, "r5c5": 3.0}, "The lower right carries it most, then the middle."),
        (
            {"r0c2": 3.0, "r3c0": 2.0, "r3c5": 1.0, "r5c0": 0.9},
            "The upper centre carries it most, then the middle left and the middle right.",
        ),
        ({"r0c0": 0.4, "r5c5": -3.0}, "No single part of the picture carries the answer."),
    ],
)
def test_where_the_answer_rests_is_said_in_words(marked: dict[str, float], said: str) -> None:
    assert where(parts(**marked)["changes"]) == said
    assert said in picture_part("/picture", parts(**marked))


def test_a_picture_without_a_part_that_matters_is_not_drawn_again() -> None:
    drawn = picture_part("/picture", parts(r0c0=0.1))
    assert "No single part of the picture carries the answer." in drawn
    assert "<img" not in drawn
