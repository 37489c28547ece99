from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from db.agreement import NOTHING_SHARED, Figure, cohen_kappa, per_verdict, share, together
from db.teacher_figures import (
    NO_CONFIDENCE,
    NO_RULING,
    Bin,
    Calibration,
    Judged,
    OtherTeacher,
    TeacherFigures,
    Version,
)
from db.views import CaseView
from db.vocabulary import Answer, Split, TeacherKind, Verdict
from ooc_app.teacher_figures_panel import figures_panel, split_line

HOSTILE = '<img src=x onerror="alert(1)">&'
SAFE = "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;"
SAID: Mapping[tuple[str, str], int] = {
    (Answer.IN_CONTEXT, Verdict.IN_CONTEXT): 6,
    (Answer.OUT_OF_CONTEXT, Verdict.IN_CONTEXT): 3,
    (Answer.UNSURE, Verdict.IN_CONTEXT): 1,
    (Answer.OUT_OF_CONTEXT, Verdict.OUT_OF_CONTEXT): 10,
}
FIGURES = TeacherFigures(
    name=HOSTILE,
    kind=TeacherKind.ENDPOINT,
    active=True,
    verdicts={Answer.IN_CONTEXT: 6, Answer.OUT_OF_CONTEXT: 1_313, Answer.UNSURE: 1},
    by_gold=Judged(share(16, 20, ""), tuple(per_verdict(SAID, "gold verdict"))),
    by_people=Judged(Figure(None, NO_RULING), tuple(per_verdict({}))),
    with_rulings=Figure(None, NOTHING_SHARED),
    others=(OtherTeacher(HOSTILE, together(SAID)),),
    compared=20,
    only_right=2,
    only_wrong=1,
)
SURE = Calibration((Bin(0.8, 0.9, 8, 2, 0.85), Bin(0.9, 1.0, 2, 0, 0.95)), 12, 10, 0.87, 0.8, 0.09)
UNSURE = Calibration((), 3, 0, why=NO_CONFIDENCE)


def case(id_: int, image: str | None) -> CaseView:
    return CaseView(
        id_, "d", f"{id_}", HOSTILE, image, None, Split.TRAIN, None, None, None, None, None, None, (), ()
    )


def drawn(
    figures: TeacherFigures = FIGURES, sure: Calibration = SURE, found: dict[str, Any] | None = None
) -> str:
    return figures_panel(figures, sure, [case(7, "a" * 64), case(6, None)], found or {})


@pytest.mark.parametrize(
    ("figures", "sure", "sentence"),
    [
        (replace(FIGURES, verdicts=dict.fromkeys(Answer, 0)), SURE, "No opinion of this teacher counts yet"),
        (replace(FIGURES, verdicts=dict.fromkeys(Answer, 0), active=False), SURE, "It is retired"),
        (FIGURES, SURE, NO_RULING),
        (FIGURES, UNSURE, NO_CONFIDENCE),
        (replace(FIGURES, others=()), SURE, "No other teacher that counts has answered a case it answered."),
        (replace(FIGURES, compared=0, only_right=0), SURE, "No case whose truth is known has its opinion"),
        (replace(FIGURES, only_right=0), SURE, "it alone was right on none; it alone was wrong on 1."),
        (replace(FIGURES, kind=TeacherKind.SCRIPTED), SURE, "It is not asked here"),
        (FIGURES, SURE, "No run has looked yet whether it needs the picture."),
        (FIGURES, SURE, "Nobody has tried yet whether the order"),
    ],
)
def test_a_figure_that_is_missing_says_why(figures: TeacherFigures, sure: Calibration, sentence: str) -> None:
    assert sentence in drawn(figures, sure)


def test_no_text_from_outside_becomes_markup() -> None:
    found = {"sight": {"said": HOSTILE, "ignores_image": False}, "flip": {"compared": 4, "changed": 1}}
    panel = drawn(found=found)
    assert "<img src=x" not in panel
    assert panel.count(SAFE) == 4  # the other teacher, two captions, what a run measured
    hostile = Version(HOSTILE, TeacherKind.ENDPOINT, True, HOSTILE, HOSTILE)
    assert split_line([hostile]).count(SAFE) == 3
    assert "<img" not in split_line([hostile])


def test_every_figure_stands_with_its_interval_and_what_it_rests_on() -> None:
    panel = drawn()
    assert '<i class="out_of_context" style="width:99.47%">' in panel
    assert "<small>1,313</small>" in panel
    assert "Of 1,320 opinions that count." in panel
    assert "<td>0.800 <small>[0.584, 0.919]</small></td><td>5.0 %</td><td>20</td>" in panel
    assert "<td>0.600 <small>[0.313, 0.832]</small></td><td>10.0 %</td><td>10</td>" in panel
    assert f"<td>20</td><td>20.0 %</td><td>{cohen_kappa(SAID).value:.2f} <small>[" in panel
    assert "Only it was right on 2 cases" in panel
    assert "Of 20 cases whose truth is known and that others answered, too, it alone was wrong on 1." in panel


def test_people_are_beside_the_others_once_they_have_ruled() -> None:
    kappa = Figure(0.25, interval=(-0.1, 0.6), cases=31)
    assert "people&#x27;s rulings</th><td>31</td><td></td><td>0.25 <small>[-0.10, 0.60]</small>" in drawn(
        replace(FIGURES, with_rulings=kappa)
    )


def test_the_reliability_diagram_can_be_read_without_being_seen() -> None:
    panel = drawn()
    assert (
        'role="img" aria-label="How often it is right, by how sure it says it is: said 0.85, right 0.75 of 8'
        in panel
    )
    assert "confidence 1</text>" in panel
    assert '<th scope="row" dir="auto">0.8 to 0.9</th><td>0.85</td><td>0.75</td><td>8</td>' in panel
    assert "Over 10 opinions with a confidence, of the newest 12" in panel


def test_the_cases_it_alone_was_right_on_lead_to_the_case() -> None:
    panel = drawn()
    assert f'<a href="?case=7"><img src="desk/thumbs/{"a" * 64}" alt="" loading="lazy">' in panel
    assert '<a href="?case=6"><span class="figures-blank">no picture</span>' in panel


def test_what_runs_measured_is_said_in_a_sentence_each() -> None:
    found = {
        "sight": {"ignores_image": True, "said": "10 of 12 stay."},
        "flip": {"compared": 50, "changed": 4},
    }
    panel = drawn(found=found)
    assert "<b>Ignores the picture:</b> 10 of 12 stay." in panel
    assert "With the verdicts offered the other way round, 4 of 50 verdicts changed (8.0 %)." in panel


@pytest.mark.parametrize(
    ("versions", "sentence"),
    [
        ([], "No teacher&#x27;s opinion counts yet, so no case is agreed and none a conflict."),
        (
            [Version("A", TeacherKind.RECORDED, True, "recorded", None)],
            "Agreed and conflict go by the opinions of A (recorded).",
        ),
        (
            [Version("Atlas (scripted)", TeacherKind.SCRIPTED, True, "recorded", None)],
            "go by the opinions of Atlas (scripted).",
        ),
        (
            [Version("Qwen (7B)", TeacherKind.ENDPOINT, True, "teach-2", "qwen")],
            "go by the opinions of Qwen (7B) (qwen, teach-2).",
        ),
        (
            [
                Version("A", TeacherKind.ENDPOINT, True, "recorded", None),
                Version("A", TeacherKind.ENDPOINT, True, "teach-2", "m-1"),
                Version("B", TeacherKind.SCRIPTED, True, "recorded", None),
                Version("C", TeacherKind.LOCAL, True, "teach-2", "m-2"),
            ],
            "of A (recorded; m-1, teach-2), B (scripted) and C (m-2, teach-2).",
        ),
    ],
)
def test_the_split_says_which_teachers_and_versions_it_goes_by(
    versions: list[Version], sentence: str
) -> None:
    assert sentence in split_line(versions)
