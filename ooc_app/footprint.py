"""What a run would need of this machine: memory by part, disk, and a sentence on whether it fits."""

from dataclasses import dataclass
from typing import Any

from ooc_app import render
from training import memory
from training.memory import gigabytes
from training.presets import Plan
from training.shapes import shape_of

UNKNOWN = (
    "How much memory {student} needs is not known before it is loaded: neither its config.json nor a preset "
    "says how large it is."
)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory in bytes by part, in all and as there is; all but `advice` are empty where it is unknown."""

    parts: dict[str, float]
    total: float
    free: float
    kind: str
    disk: float
    advice: str

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values, bytes as whole numbers."""
        return {
            "parts": {name: round(size) for name, size in self.parts.items()},
            "total": round(self.total),
            "free": round(self.free),
            "kind": self.kind,
            "features_on_disk": round(self.disk),
            "advice": self.advice,
        }


def footprint(plan: Plan, pictures: int) -> Footprint:
    """Estimate what a run by this plan needs that learns from so many pictures."""
    machine = memory.this_machine()
    shape = shape_of(plan.config.student, plan.shape)
    if shape is None:
        said = UNKNOWN.format(student=plan.config.student)
        return Footprint({}, 0, machine.free, machine.kind, 0, said)
    made = memory.estimate(plan.config, shape, machine, pictures=pictures)
    advice = memory.advice(plan.config, shape, machine, pictures=pictures)
    parts = {**made.standing, **made.passing}
    return Footprint(parts, made.total, machine.free, machine.kind, made.disk, advice)


def rows(needed: Footprint) -> list[tuple[str, str]]:
    """Return the table: parts that stand, those of which the largest counts, the sum, and the disk."""
    if not needed.parts:
        return []
    where = "free on the GPU" if needed.kind == "gpu" else "free here"
    return [
        *((name, gigabytes(size)) for name, size in needed.parts.items()),
        ("in all, at the most", gigabytes(needed.total)),
        (where, gigabytes(needed.free)),
        ("features on disk", gigabytes(needed.disk)),
    ]


def notice(needed: Footprint) -> str:
    """Draw the sentence, and the table to open below it."""
    if not needed.parts:
        return render.notice(needed.advice, "plain")
    said = render.notice(needed.advice, "plain" if memory.fits(needed.total, needed.free) else "warning")
    return (
        f"{said}<details class='memory'><summary>by part</summary>{render.facts(_turned(needed))}</details>"
    )


def _turned(needed: Footprint) -> list[tuple[str, str]]:
    return [(size, name) for name, size in rows(needed)]
