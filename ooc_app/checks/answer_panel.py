"""Draw an answer for the page and the report. Pure; every text goes through `escape`."""

from html import escape

from db.vocabulary import Answer
from ooc_app import render
from ooc_app.checks.answering import Answered
from ooc_app.checks.grounds_panel import caption_part, picture_part, reliance_part
from ooc_app.checks.untouched import NO_RATIONALE, UNTOUCHED


def answer_panel(given: Answered) -> str:
    """Draw an answer: the warning, then verdict, probability and rationale so far, then what it rests on."""
    answer = given.answer
    notes = "".join(render.notice(note) for note in given.image.notes)
    warning = render.notice(answer.warning, "warning") if answer.warning else ""
    untouched = render.notice(UNTOUCHED, "warning") if given.is_untouched else ""
    is_written = given.is_done or given.doing or given.reliance
    writing = "" if is_written else '<i class="writing" aria-hidden="true"></i>'
    rationale = rationale_part(given.rationale, writing)
    domain = f" · knows only the {answer.domain}" if answer.domain else ""
    said = Answer.UNSURE if answer.cannot_tell else answer.verdict
    of = f" of {escape(render.verdict_words(answer.verdict))}" if answer.cannot_tell else ""
    return (
        f'<div class="answer" aria-busy="{str(not given.is_done).lower()}">{notes}{warning}{untouched}'
        f'<div class="answer-head">{render.verdict_chip(said, large=True)}'
        f'<span class="answer-sure">probability{of} <b>{answer.probability:.2f}</b></span>'
        f'<span class="answer-words">{escape(answer.words)}</span></div>'
        f"{render.probability_bar(said, answer.probability)}"
        f"{rationale}{_grounds(given)}"
        f'<p class="answer-student">{escape(answer.student + domain)}</p></div>'
    )


def rationale_part(rationale: str, writing: str = "") -> str:
    """Draw a rationale, with a mark behind it while it is written; says so where there is none."""
    if not rationale and not writing:
        return render.paragraph(NO_RATIONALE, "answer-words")
    return f'<blockquote class="answer-rationale" dir="auto">{escape(rationale)}{writing}</blockquote>'


def _grounds(given: Answered) -> str:
    """Draw what the answer rests on, as far as it is known, and what is still looked for."""
    relies, words, parts = given.reliance, given.word_grounds, given.part_grounds
    return "".join(
        (
            reliance_part(relies) if relies else "",
            caption_part(given.asked.caption, words) if words else "",
            picture_part(given.picture, parts) if parts else "",
            f'<p class="answer-doing">{escape(given.doing)}</p>' if given.doing else "",
        )
    )
