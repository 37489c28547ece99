"""The words and limits of the desk, one of each, for the database and for training alike.

Every value here is what stands in the database, in files and in the API; change one and a
migration is due.
"""

from datetime import timedelta
from enum import StrEnum


class Verdict(StrEnum):
    """What a case is found to be."""

    IN_CONTEXT = "in_context"
    OUT_OF_CONTEXT = "out_of_context"

    @property
    def other(self) -> "Verdict":
        """The verdict that contradicts this one."""
        return Verdict.IN_CONTEXT if self is Verdict.OUT_OF_CONTEXT else Verdict.OUT_OF_CONTEXT


UNSURE = "unsure"


class Answer(StrEnum):
    """What an opinion or a ruling may say: a verdict, or that it reaches none."""

    IN_CONTEXT = Verdict.IN_CONTEXT.value
    OUT_OF_CONTEXT = Verdict.OUT_OF_CONTEXT.value
    UNSURE = UNSURE


class Element(StrEnum):
    """The part of a caption that does not belong to the picture."""

    PERSON = "person"
    PLACE = "place"
    TIME = "time"
    EVENT = "event"
    OBJECT = "object"
    OTHER = "other"


class Split(StrEnum):
    """What a case is for; only `train` cases are ever ruled on."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class EvidenceKind(StrEnum):
    """Whether evidence was found by searching for the image or for the caption."""

    IMAGE = "image"
    CAPTION = "caption"


class TeacherKind(StrEnum):
    """Where a teacher's opinions come from: a file, the demo's script, a server, a model on this machine."""

    RECORDED = "recorded"
    SCRIPTED = "scripted"
    ENDPOINT = "endpoint"
    LOCAL = "local"


class Role(StrEnum):
    """What a person may do: rule, settle split rulings, run everything."""

    ANNOTATOR = "annotator"
    ADJUDICATOR = "adjudicator"
    EDITOR = "editor"


class Cause(StrEnum):
    """Why people were split on a case, as the adjudicator sees it."""

    AMBIGUOUS_CAPTION = "ambiguous_caption"  # the caption can be read in two ways
    GUIDELINE_GAP = "guideline_gap"  # the guidelines do not say
    SLIP = "slip"  # somebody overlooked or mistook something
    EDGE_CASE = "edge_case"  # it lies on the line between the verdicts
    JUDGEMENT = "judgement"  # careful people may differ


SETTLING_ROLES = (Role.ADJUDICATOR, Role.EDITOR)  # whose answer settles split rulings


class QueueReason(StrEnum):
    """Why a case wants a person."""

    CONFLICT = "conflict"  # its teachers differ
    NO_VERDICT = "no_verdict"  # not one of its teachers reaches a verdict
    AUDIT = "audit"  # its teachers agree, and it was drawn to see how often they agree on a mistake
    SECOND_OPINION = "second_opinion"  # ruled on, and wanted from a colleague too
    SPLIT_RULINGS = "split_rulings"  # people differ: an adjudicator settles
    STUDENT_UNSURE = "student_unsure"  # its teachers agree, and the student cannot tell
    SENT = "sent"  # an analyst asks


class HumanAnswer(StrEnum):
    """What people together say of a case: nothing yet, one answer, or different ones."""

    NONE = "none"
    IN_CONTEXT = Verdict.IN_CONTEXT.value
    OUT_OF_CONTEXT = Verdict.OUT_OF_CONTEXT.value
    UNSURE = UNSURE
    SPLIT = "split"


class CaseState(StrEnum):
    """Where a case stands: what people say of it, and where they say nothing, what its teachers say."""

    SETTLED = "settled"
    SPLIT = "split"
    CANNOT_TELL = "cannot_tell"  # people ruled, and cannot tell
    CONFLICT = "conflict"
    NO_VERDICT = "no_verdict"
    AGREED = "agreed"
    NO_OPINION = "no_opinion"


class Stage(StrEnum):
    """One half of a run."""

    SFT = "sft"
    DPO = "dpo"


class PreferenceOrigin(StrEnum):
    """Where the rejected rationale of a preference comes from."""

    CONFLICT = "conflict"  # a teacher whose opinion people ruled against
    WEAKENED = "weakened"  # the stage-1 student, shown a picture under noise
    INJECTED = "injected"  # the chosen rationale with one fact exchanged


class RunStatus(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    COMPLETE = "complete"


PREFERENCES_PER_CASE = 4  # keeps cases with many teachers from outweighing the rest
RUSHED_SECONDS = 2.0  # a faster ruling cannot have read two rationales
LEASE = timedelta(minutes=10)  # how long a claimed case is kept from colleagues
UNDOABLE_RULINGS = 10  # how far back an annotator may undo
