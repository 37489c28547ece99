import pytest

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.rulings import NewRuling, ensure_annotator, rule
from db.views import Selection
from db.vocabulary import Answer, Role, Split, Verdict
from ooc_app.desk import Desk
from ooc_app.lessons import Lesson, pairs, read_lessons
from tests.ooc_app.export.conftest import NOW

IN, OUT, UNSURE = Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT, Answer.UNSURE
PICTURE = NewImage("a" * 64, "PNG", 6, 4, 10)
OTHER = NewImage("b" * 64, "PNG", 6, 4, 10)


def case(name: str, *verdicts: Answer, image: NewImage | None = PICTURE, group: str | None = None) -> NewCase:
    said = tuple(NewOpinion(f"T{n}", verdict, f"T{n}: {verdict}.") for n, verdict in enumerate(verdicts))
    return NewCase(name, f"Caption of {name}.", image, group=group, opinions=said)


def add(desk: Desk, *cases: NewCase) -> None:
    with write_session(desk.sessions) as session:
        add_cases(session, "test", cases)


def ruled(
    desk: Desk,
    case_id: int,
    name: str,
    verdict: Answer,
    rationale: str | None = None,
    *,
    role: Role = Role.ANNOTATOR,
) -> None:
    with write_session(desk.sessions) as session:
        annotator_id = ensure_annotator(session, name, role)
        rule(session, annotator_id, NewRuling(f"{name}{case_id}", case_id, verdict, None, rationale), NOW)


def sorted_cases(desk: Desk, seed: int = 0) -> dict[str, Lesson]:
    with desk.sessions() as session:
        return {lesson.case.view.external_id: lesson for lesson in read_lessons(session, Selection(), seed)}


@pytest.mark.parametrize(
    "left_out",
    [
        case("conflict", IN, OUT),
        case("nobody can tell", UNSURE, UNSURE),
        case("one cannot tell", IN, UNSURE),
        case("no opinion"),
        case("no picture", IN, IN, image=None),
        NewCase("held out without gold", "C", PICTURE, split=Split.TEST),
    ],
    ids=lambda one: one.external_id,
)
def test_a_case_that_teaches_nothing_is_left_out(left_out: NewCase, desk: Desk) -> None:
    add(desk, left_out)
    (lesson,) = sorted_cases(desk).values()
    assert (lesson.target, lesson.settled, lesson.gold, pairs(lesson)) == (None, None, None, [])


def test_a_training_case_that_shares_with_one_that_measures_is_left_out(desk: Desk) -> None:
    measures = NewCase("measures", "C", PICTURE, Verdict.IN_CONTEXT, Split.VALIDATION, "g")
    add(desk, measures, case("same picture", IN, IN), case("same group", OUT, IN, image=OTHER, group="g"))
    ruled(desk, 3, "maria", IN)
    lessons = sorted_cases(desk)
    assert lessons["measures"].gold is not None
    assert (lessons["same picture"].target, lessons["same group"].target) == (None, None)
    assert pairs(lessons["same group"]) == []


def test_what_the_teachers_agree_on_is_a_target_with_the_words_of_one_of_them(desk: Desk) -> None:
    add(desk, *(case(f"{number}", OUT, OUT, OUT) for number in range(20)))
    lessons = sorted_cases(desk)
    targets = [lesson.target for lesson in lessons.values() if lesson.target]
    assert {(target.verdict, target.origin) for target in targets} == {(Verdict.OUT_OF_CONTEXT, "agreed")}
    assert len({target.rationale for target in targets}) == 3
    assert sorted_cases(desk) == lessons
    assert sorted_cases(desk, seed=1) != lessons


def test_people_go_before_teachers(desk: Desk) -> None:
    add(desk, case("agreed", OUT, OUT), case("conflict", OUT, IN))
    ruled(desk, 1, "maria", IN, "It fits.")
    ruled(desk, 2, "maria", OUT, "The sign says otherwise.")
    lessons = sorted_cases(desk)
    target = lessons["agreed"].target
    assert target is not None
    assert (target.verdict, target.rationale, target.origin) == (Verdict.IN_CONTEXT, "It fits.", "settled")
    assert [(pair.chosen, pair.rejected) for pair in pairs(lessons["conflict"])] == [
        ("The sign says otherwise.", "T1: in_context."),
        ("T0: out_of_context.", "T1: in_context."),
    ]


def test_of_split_rulings_only_those_for_the_human_verdict_teach_the_adjudicators_first(desk: Desk) -> None:
    add(desk, case("conflict", OUT, IN))
    ruled(desk, 1, "maria", IN, "Maria's wrong reason.")
    ruled(desk, 1, "jan", OUT, "Jan's reason.")
    assert sorted_cases(desk)["conflict"].target is None
    ruled(desk, 1, "eva", OUT, "Eva's reason.", role=Role.ADJUDICATOR)
    settled = sorted_cases(desk)["conflict"].settled
    assert settled is not None
    assert settled.preferred == ("Eva's reason.", "Jan's reason.")


def test_a_cases_pairs_do_not_depend_on_the_other_cases(desk: Desk) -> None:
    verdicts = (IN, IN, IN, OUT, OUT, OUT)
    add(desk, case("first", *verdicts), case("second", *verdicts))
    ruled(desk, 2, "maria", IN)
    alone = pairs(sorted_cases(desk)["second"])
    ruled(desk, 1, "maria", IN)
    assert pairs(sorted_cases(desk)["second"]) == alone
    assert len(alone) == 4
    assert len(pairs(sorted_cases(desk)["second"], max_per_case=9)) == 9
    assert len({tuple(pairs(sorted_cases(desk)["second"], seed=seed)) for seed in range(9)}) > 1
