"""Draw answers of several students, and of teachers, side by side. Pure; every text goes through `escape`."""

from collections.abc import Iterator, Sequence
from html import escape

from db.vocabulary import Answer
from ooc_app import render
from ooc_app.checks.compare import Compared
from ooc_app.checks.said import Said, TeacherSaid
from ooc_app.checks.untouched import NO_RATIONALE

BESIDE = "What a teacher says here is no opinion of the desk, and nothing of it is kept."


def compare_panel(columns: Sequence[Compared]) -> str:
    """Draw a column for each answer, in the order given; what is still asked says what it is doing."""
    others = [column for column in columns if not column.is_kept]
    if not others:
        return render.empty_state(
            "No other student to compare with",
            "There is one once a run is promoted: what it started from, and what it was after each stage.",
        )
    busy = any(column.doing for column in columns)
    told = render.paragraph(BESIDE) if any(isinstance(one.said, TeacherSaid) for one in columns) else ""
    return (
        f'<section class="compared" aria-busy="{str(busy).lower()}"><h2>The same check by others</h2>'
        f"<ol>{''.join(_column(column) for column in columns)}</ol>{told}</section>"
    )


def _column(column: Compared) -> str:
    kept = " kept" if column.is_kept else ""
    refused = f'<p class="compared-refused">{escape(column.refused)}</p>' if column.refused else ""
    doing = f'<p class="compared-doing">{escape(column.doing)}</p>' if column.doing else ""
    if column.said and not (column.said.rationale or column.doing or column.refused):
        doing = render.paragraph(NO_RATIONALE, "compared-doing")
    return (
        f'<li class="compared-one{kept}"><h3>{escape(column.title)} <small>{escape(column.name)}</small></h3>'
        f"{_said(column.said) if column.said else ''}{refused}{doing}</li>"
    )


def _said(said: Said | TeacherSaid) -> str:
    verdict: str = said.verdict
    if isinstance(said, TeacherSaid):
        facts = _teacher_facts(said)
    else:
        facts = _student_facts(said)
        verdict = Answer.UNSURE if said.cannot_tell else verdict
    rationale = f'<blockquote dir="auto">{escape(said.rationale)}</blockquote>' if said.rationale else ""
    return f'{render.verdict_chip(verdict)}<p class="compared-facts">{" · ".join(facts)}</p>{rationale}'


def _student_facts(said: Said) -> Iterator[str]:
    of = f" of {escape(render.verdict_words(said.verdict))}" if said.cannot_tell else ""
    yield f"probability{of} <b>{said.probability:.2f}</b>"
    if said.note:
        yield escape(said.note)
    if said.seconds is not None:
        yield f"verdict in {_seconds(said.seconds)}"


def _teacher_facts(said: TeacherSaid) -> Iterator[str]:
    if said.confidence is None:
        yield "does not say how sure it is"
    else:
        yield f"says it is <b>{render.percent(said.confidence, 0)}</b> sure, uncalibrated"
    if said.elements is not None:
        yield f"does not fit: {escape(', '.join(said.elements))}" if said.elements else "names nothing amiss"
    yield f"answered in {_seconds(said.seconds)}"
    if said.cost is not None:
        yield f"${said.cost:.4f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else render.duration(seconds)
