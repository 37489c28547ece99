"""How an export speaks of pictures and people, whatever its format."""

from dataclasses import dataclass
from typing import Any

from db.views import RulingView
from ooc_app.export.pictures import Pictures


@dataclass(frozen=True, slots=True)
class Manner:
    """What the formats share."""

    pictures: Pictures
    names: bool = False  # annotators by name; else each by the same number in every export

    def annotator(self, ruling: RulingView) -> str:
        """Say who ruled."""
        return ruling.annotator if self.names else f"annotator-{ruling.annotator_id}"

    def ruling(self, ruling: RulingView) -> dict[str, Any]:
        """Write a ruling as most formats have it."""
        return {
            "annotator": self.annotator(ruling),
            "verdict": ruling.verdict,
            "rationale": ruling.rationale,
            "picked": ruling.picked_teacher,
            "elements": ruling.elements,
            "note": ruling.note,
            "flagged": ruling.flagged,
            "seconds": ruling.seconds,
            "rushed": ruling.rushed,
            "settles": ruling.settles,
            "at": ruling.created_at.isoformat(),
        }
