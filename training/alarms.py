"""What is worth a look in a run that goes on: signs in its metrics that training goes wrong.

The bounds are *ours*. A loss under `LOSS_ZERO` for `ROWS` logged steps on end says that there is nothing
left to learn, which is a leak or an answer outside the loss more often than a perfect student. A reward
margin of `MARGIN` means odds of e^20 for the chosen rationale, where a pair has no gradient any more; the
demo's runs end near 3. The chosen rationales have collapsed where their log-probability, which DPO may
lower as long as the rejected ones fall faster (arXiv 2410.08847), is by more than `COLLAPSE_NATS` and by
more than half below where the stage began.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from db.vocabulary import Stage

ROWS = 5
LOSS_ZERO = 1e-4  # nats
MARGIN = 20.0  # beta times nats
COLLAPSE_NATS = 10.0  # of a whole rationale, mean over a batch

Row = Mapping[str, Any]


class AlarmKind(StrEnum):
    """What an alarm is about."""

    LOSS_ZERO = "loss_zero"
    MARGIN = "margin"
    CHOSEN_COLLAPSE = "chosen_collapse"
    OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A line of `alarms.jsonl`: a sentence about a step that did not end the run.

    `micro_batch` is how many rows go through the student at once from here on, where memory ended.
    """

    stage: str
    step: int
    kind: AlarmKind
    said: str
    micro_batch: int | None = None

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build from JSON values."""
        return cls(**{**values, "kind": AlarmKind(values["kind"])})


def alarms(rows: Sequence[Row]) -> Iterator[Alarm]:
    """Yield what is alarming now in the logged steps of one stage, the newest last; at most one of a kind."""
    if not rows:
        return
    stage, step = str(rows[-1]["stage"]), int(rows[-1]["step"])
    losses = _last(rows, "loss")
    if len(losses) == ROWS and max(losses) < LOSS_ZERO:
        said = f"The loss has been under {LOSS_ZERO:g} for {ROWS} logged steps: look whether the answers leak"
        yield Alarm(stage, step, AlarmKind.LOSS_ZERO, f"{said} or are left out of the loss.")
    if stage != Stage.DPO:
        return
    margins = _last(rows, "margin")
    if len(margins) == ROWS and min(margins) > MARGIN:
        said = f"The reward margin is {margins[-1]:.1f}, beyond {MARGIN:g}: pairs have no gradient any more;"
        yield Alarm(stage, step, AlarmKind.MARGIN, f"{said} lower the learning rate or train fewer epochs.")
    fallen = fall_of_chosen(rows)
    if fallen is not None:
        began, now = fallen
        yield Alarm(
            stage, step, AlarmKind.CHOSEN_COLLAPSE,
            f"The log-probability of the chosen rationales fell from {began:.1f} to {now:.1f}: the student"
            " unlearns them too; raise the weight of the SFT loss or lower the learning rate.",
        )  # fmt: skip


def fall_of_chosen(rows: Sequence[Row]) -> tuple[float, float] | None:
    """Return the chosen log-probability at first and at last, in nats, where it has collapsed; else None.

    Both are means over `ROWS` logged steps of stage 2, because batches differ.
    """
    said = [float(row["logp_chosen"]) for row in rows if "logp_chosen" in row]
    if len(said) < 2 * ROWS:
        return None
    began, now = sum(said[:ROWS]) / ROWS, sum(said[-ROWS:]) / ROWS
    return (began, now) if began - now > max(COLLAPSE_NATS, abs(began) / 2) else None


def _last(rows: Sequence[Row], name: str) -> list[float]:
    """Return a figure of the last logged steps; fewer than `ROWS` where there are not as many."""
    return [float(row[name]) for row in rows[-ROWS:] if name in row]
