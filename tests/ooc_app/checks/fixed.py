"""A serving that answers every check alike, without a model."""

from collections.abc import Iterator
from pathlib import Path

from db.vocabulary import Verdict
from ooc_app.serving import CheckAnswer, Serving
from training.reliance import Reliance

HOSTILE = '<img src=x onerror="alert(1)">'


class FixedServing(Serving):
    """Answers every check alike, without a model; `asked` keeps what it was asked about."""

    def __init__(self, warning: str | None = None) -> None:
        self.answer = CheckAnswer(Verdict.OUT_OF_CONTEXT, 0.86, "fixed", "demo world", warning, "Leans out.")
        self.asked: list[tuple[bytes, str]] = []

    def state(self) -> str:
        return "ready"

    def begin_loading(self) -> None:
        self.asked.clear()

    def check(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> CheckAnswer:
        self.asked.append((image_path.read_bytes(), caption))
        return self.answer

    def rationale(
        self, image_path: Path, caption: str, date: str | None, place: str | None, verdict: Verdict
    ) -> Iterator[str]:
        yield "The tower"
        yield f"The tower is {HOSTILE}"

    def reliance(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> Reliance:
        curve = ((0, 0.86), (900, 0.5))
        return Reliance(Verdict.OUT_OF_CONTEXT, 0.86, curve, 0.4, 0.7, True, "It depends.", 8)

    def seconds_a_prompt(self) -> float | None:
        return None
