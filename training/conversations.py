"""Cases and answers as the turns of a conversation, in the shape TRL and chat templates take."""

from typing import Any

from db.vocabulary import Verdict
from training.prompts import render_answer, verdict_question
from training.records import CaseInput


def question_turn(case: CaseInput) -> list[dict[str, str]]:
    """Return the user's turn; TRL puts the image before its text."""
    asked = verdict_question(case.caption, date=case.date, place=case.place, evidence=case.evidence)
    return [{"role": "user", "content": asked}]


def answer_turn(verdict: Verdict, rationale: str) -> list[dict[str, str]]:
    """Return the assistant's turn: verdict first, rationale after."""
    return [{"role": "assistant", "content": render_answer(verdict, rationale)}]


def with_image(turns: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return the turns with the image's place before the first text, as TRL lays them out."""
    first, *others = turns
    parts = [{"type": "image"}, {"type": "text", "text": first["content"]}]
    return [
        {"role": first["role"], "content": parts},
        *({"role": t["role"], "content": [{"type": "text", "text": t["content"]}]} for t in others),
    ]
