import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Case, Opinion, Teacher
from db.views import OpinionView, case_views
from db.vocabulary import Answer, Element
from ooc_app.desk import Desk
from ooc_app.intake import opinions
from ooc_app.intake.entries import ImportFileError
from ooc_app.intake.opinions import OpinionsReport, import_opinions, opinions_source

GIVEN = "verdict:prediction,Yes=out_of_context,No=in_context,*=unsure,rationale:explanation"
KEY = "{article_id}-{image_id}"
Bring = Callable[..., OpinionsReport]


def row(number: int, prediction: Any = "Yes", **more: Any) -> dict[str, Any]:
    """An opinion as published answers have them: Yes means out of context."""
    said = {"falsified": True, "prediction": prediction, "explanation": f"Because of {number}."}
    return {"image_id": number, "article_id": number + 100, **said, **more}


@pytest.fixture
def desk_with_cases(desk: Desk) -> Desk:
    """A desk with 20 cases of NewsCLIPpings."""
    image = NewImage("a" * 64, "PNG", 64, 48, 100)
    cases = [NewCase(f"{number + 100}-{number}", f"Caption {number}.", image) for number in range(20)]
    with write_session(desk.sessions) as session:
        add_cases(session, "newsclippings", cases)
    return desk


@pytest.fixture
def bring(desk_with_cases: Desk, tmp_path: Path) -> Bring:
    """Give a function that imports rows as opinions of Gemini."""

    def bring(
        *rows: Any,
        given: str | None = GIVEN,
        key: str = KEY,
        dataset: str | None = None,
        version: str = "recorded",
        **options: Any,
    ) -> OpinionsReport:
        path = tmp_path / "answers.jsonl"
        path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in rows))
        source = opinions_source(path, "Gemini", given, key, version)
        return import_opinions(desk_with_cases, source, dataset, **options)

    return bring


def said(desk: Desk) -> dict[str, tuple[OpinionView, ...]]:
    """The current opinions of each case that has one."""
    with desk.sessions() as session:
        views = case_views(session, session.scalars(sa.select(Case.id).order_by(Case.id)).all())
    return {view.external_id: view.opinions for view in views if view.opinions}


def count(desk: Desk, table: type[Any]) -> int:
    with desk.sessions() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


@pytest.mark.parametrize(
    ("teacher", "given", "key", "reason"),
    [
        (" ", GIVEN, KEY, "--teacher"),
        ("T", GIVEN, "id", "name a column in it"),
        ("T", GIVEN, "{}", "name a column in it"),
        ("T", "verdict:a,Yes=fake", KEY, "`verdict` is one of in_context, out_of_context, unsure"),
        ("T", "gold:a", KEY, "none of verdict, rationale"),
    ],
)
def test_what_cannot_be_meant_is_refused(teacher: str, given: str, key: str, reason: str) -> None:
    with pytest.raises(ImportFileError, match=reason):
        opinions_source(Path("a.jsonl"), teacher, given, key)


def test_a_desk_without_cases_or_without_that_data_set_is_named(desk: Desk, bring: Bring) -> None:
    with pytest.raises(ImportFileError, match="no data set 'verite': choose newsclippings"):
        bring(row(1), dataset="verite")
    with write_session(desk.sessions) as session:
        add_cases(session, "cosmos", [NewCase("1", "A")])
    with pytest.raises(ImportFileError, match="--dataset, one of cosmos, newsclippings"):
        bring(row(1))


def test_an_empty_desk_is_named(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    with pytest.raises(ImportFileError, match="no cases yet"):
        import_opinions(desk, opinions_source(tmp_path / "a.jsonl", "T", GIVEN))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(1, "Maybe"), "`prediction` is 'Maybe', which --map gives no meaning"),
        (row(1, None), "has no `verdict`"),
        ({"image_id": 1, "prediction": "Yes"}, "`article_id` is missing"),
        (row(1, explanation=["A"]), "`rationale` is not a text"),
        (row(1, confidence=70), "`confidence` is '70'"),
        (row(1, confidence="high"), "`confidence` is 'high'"),
        (row(1, image_id=[1]), "`image_id` is not a text"),
        ("[]", "not a JSON object"),
        ("{", "not valid JSON"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_the_good_ones_are_in(
    bad: Any, reason: str, bring: Bring
) -> None:
    strict = "verdict:prediction,Yes=out_of_context,No=in_context,rationale:explanation"
    report = bring(row(1), bad, row(2), given=strict)
    assert [(line.line, reason in line.reason) for line in report.bad] == [(2, True)], report.bad
    assert (report.matched, report.new, report.bad_count) == (2, 2, 1)


def test_polarity_is_what_was_stated(bring: Bring, desk: Desk) -> None:
    report = bring(row(1, "Yes"), row(2, "No"), row(3, "I don't know"), row(4, "no"))
    assert {key: opinion.verdict for key, (opinion,) in said(desk).items()} == {
        "101-1": Answer.OUT_OF_CONTEXT,
        "102-2": Answer.IN_CONTEXT,
        "103-3": Answer.UNSURE,
        "104-4": Answer.UNSURE,
    }
    assert report.figures()["unsure"] == 2
    assert dict(report.by_verdict) == {"out_of_context": 1, "in_context": 1, "unsure": 2}


def test_rows_without_a_case_are_counted_with_their_lines(bring: Bring) -> None:
    report = bring(row(1), row(55), row(2), row(66))
    assert (report.matched, report.unmatched_count) == (2, 2)
    assert [(line.line, line.reason) for line in report.unmatched] == [
        (2, "there is no case '155-55'"),
        (4, "there is no case '166-66'"),
    ]


def test_everything_a_row_may_say_arrives(bring: Bring, desk: Desk) -> None:
    given = "verdict:answer.label,1=out_of_context,rationale:answer.why,confidence:p,elements:what"
    answer = {"answer": {"label": 1, "why": "漢字"}, "p": 0.75, "what": ["place", "time"]}
    bring({"key": "103-3", **answer}, given=given, key="{key}", version="prompt-7")
    ((opinion,),) = said(desk).values()
    assert (opinion.teacher, opinion.rationale, opinion.confidence) == ("Gemini", "漢字", 0.75)
    assert tuple(opinion.elements or ()) == (Element.PLACE, Element.TIME)
    with desk.sessions() as session:
        assert session.scalars(sa.select(Opinion.prompt_version)).all() == ["prompt-7"]


def test_again_adds_nothing_and_a_changed_opinion_is_a_new_version(bring: Bring, desk: Desk) -> None:
    first = bring(row(1), row(2), row(3))
    again = bring(row(1), row(2, "No"), row(3), row(4))
    assert (first.new, first.changed, first.unchanged) == (3, 0, 0)
    assert (again.new, again.changed, again.unchanged, again.matched) == (1, 1, 2, 4)
    assert (count(desk, Opinion), count(desk, Teacher)) == (5, 1)
    assert said(desk)["102-2"][0].verdict is Answer.IN_CONTEXT


def test_a_case_that_comes_twice_in_a_file_ends_with_the_later_opinion(bring: Bring, desk: Desk) -> None:
    report = bring(row(1, "Yes"), row(1, "No"), row(1, "No"))
    assert (report.new, report.changed, report.unchanged) == (1, 1, 1)
    assert said(desk)["101-1"][0].verdict is Answer.IN_CONTEXT


def test_a_rehearsal_counts_the_same_and_writes_nothing(bring: Bring, desk: Desk) -> None:
    bring(row(1))
    rehearsed = bring(row(1, "No"), row(2), row(77), rehearse=True)
    assert (rehearsed.new, rehearsed.changed, rehearsed.unmatched_count) == (1, 1, 1)
    assert (count(desk, Opinion), said(desk)["101-1"][0].verdict) == (1, Answer.OUT_OF_CONTEXT)
    done = bring(row(1, "No"), row(2), row(77))
    assert done.figures() == rehearsed.figures()


def test_csv_and_a_json_list_say_the_same(desk_with_cases: Desk, tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    table.write_text(
        "\ufeffimage_id;article_id;prediction;explanation;confidence;elements\n"
        '1;101;Yes;"Not; there";0.5;place time\n2;102;No;;;\n3;103;Perhaps;;x;\n',
        encoding="utf-8",
    )
    listed = tmp_path / "answers.json"
    rows = [
        row(1, explanation="Not; there", confidence=0.5, elements=["place", "time"]),
        row(2, "No", explanation=""),
    ]
    listed.write_text(json.dumps(rows))
    first = import_opinions(desk_with_cases, opinions_source(table, "T", GIVEN, KEY))
    assert (first.new, first.bad_count, first.bad[0].line) == (2, 1, 4)
    second = import_opinions(desk_with_cases, opinions_source(listed, "T", GIVEN, KEY))
    assert (second.new, second.changed, second.unchanged) == (0, 0, 2)


def test_a_csv_file_without_the_columns_of_the_key_is_named(desk_with_cases: Desk, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("image_id,prediction\n1,Yes\n")
    with pytest.raises(ImportFileError, match="no column `article_id`"):
        import_opinions(desk_with_cases, opinions_source(path, "T", GIVEN, KEY))


def test_an_import_that_dies_has_whole_batches_and_goes_on(
    bring: Bring, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opinions, "BATCH", 5)

    class DiskFullError(Exception):
        """What the progress bar of this test raises."""

    def die(lines: int, share: float) -> None:
        if lines == 10:
            raise DiskFullError

    rows = [row(number) for number in range(20)]
    with pytest.raises(DiskFullError):
        bring(*rows, progress=die)
    assert count(desk, Opinion) == 10
    report = bring(*rows)
    assert (report.new, report.unchanged) == (10, 10)


def test_opinions_that_conflict_put_their_case_into_the_queue(desk_with_cases: Desk, bring: Bring) -> None:
    bring(row(1, "Yes"), row(2, "Yes"))
    path = desk_with_cases.data_dir / "other.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (row(1, "No"), row(2, "Yes"))))
    import_opinions(desk_with_cases, opinions_source(path, "GPT", GIVEN, KEY))
    with desk_with_cases.sessions() as session:
        queued = session.execute(
            sa.text("SELECT external_id FROM queue JOIN cases ON cases.id = case_id")
        ).all()
    assert [name for (name,) in queued] == ["101-1"]


def test_a_key_is_filled_in_and_never_a_format_string(bring: Bring) -> None:
    report = bring(row(1), key="{image_id.__class__}")
    assert report.bad[0].reason == "`image_id.__class__` is missing or empty"
    report = bring({"id": "{evil}", "prediction": "Yes"}, key="{id}")
    assert report.unmatched[0].reason == "there is no case '{evil}'"


def test_a_recorded_opinion_can_be_read_back(bring: Bring, desk: Desk) -> None:
    bring(row(5, "Yes"))
    (opinion,) = said(desk)["105-5"]
    back = NewOpinion(opinion.teacher, opinion.verdict, opinion.rationale, opinion.confidence)
    assert back == NewOpinion("Gemini", Answer.OUT_OF_CONTEXT, "Because of 5.")
