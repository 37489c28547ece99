"""Does a verdict depend on the picture, or would the student have said the same without looking?

BPO's question (arXiv 2403.08730, section 1), put to one check: the picture fades under growing diffusion
noise and at last gives way to a blank of its mean colour, and the log-odds of the verdict are watched. A
student that judges the text alone gives the same log-odds all along.

That settles it for a verdict of in context: nothing fits a blank. A verdict of out of context may stay
although the student looks, because the caption fits a blank no better than the wrong picture. There the
student as a whole is asked instead: how many of its in-context verdicts on validation cases turn when the
picture is blank (`turning`, kept in `calibration.json`).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from PIL import Image, ImageStat
from torch import Tensor

from db.vocabulary import Verdict
from training.calibrate import Turned, sigmoid
from training.diffusion import weaken
from training.pictures import load_picture, shrink
from training.records import CaseInput
from training.sight import Alter, see
from training.student import Student

NOISE_STEPS = (0, 300, 500, 700, 900, 999)
"""Diffusion steps of the curve; 0 is the picture as good as untouched, and 900 the step BPO weakens at."""
STILL_BELOW = 0.3
"""Below this number log-odds count as not moving; *ours*, between students of captions alone (0.24 at most,
nearly all below 0.01) and the shipped one's in-context verdicts (0.5 at least), 24 and 30 cases."""
TURNING_CASES, TURNING_CASES_LEAST = 64, 10
"""Validation cases asked about without their picture, and in-context verdicts from which they say enough."""
AT_ONCE = 16
"""Cases that are read in one pass there."""
LOOKS_FROM = 0.5
"""Share of in-context verdicts that turn without their picture from which a student counts as looking."""


@dataclass(frozen=True, slots=True)
class Reliance:
    """How a verdict fares as its picture goes.

    `curve` has the probability of the verdict, 0 to 1, at each noise step, `blank` that without a picture.
    `number` is 0 where the log-odds never move and 1 where they lose all they had or change sides.
    `depends` says whether the verdict rests on the picture, None where this cannot be told.
    """

    verdict: Verdict
    probability: float
    curve: tuple[tuple[int, float], ...]
    blank: float
    number: float
    depends: bool | None
    sentence: str
    forwards: int


def reliance(student: Student, picture: Image.Image, case: CaseInput, *, seed: int = 0) -> Reliance:
    """Judge a case as its picture fades: 8 prompts, read in one pass."""
    small = shrink(picture, student.edge)
    fading: list[Alter] = [partial(_noisy, step=step, seed=seed) for step in NOISE_STEPS]
    changes: Sequence[Callable[[Tensor], Tensor]] = [_as_it_is, *fading, _as_it_is]
    shown = [small] * (len(changes) - 1) + [blank(small)]
    sights = see(student, shown, changes)
    clean, *faded = (one.margin for one in student.read(sights, [case] * len(sights)))
    verdict = student.judgement(clean).verdict
    sign = 1 if verdict is Verdict.OUT_OF_CONTEXT else -1
    said = [sigmoid(sign * margin / student.temperature) for margin in (clean, *faded)]
    number = moved(clean, faded[1:])
    depends, sentence = _conclusion(verdict, number, said, student.fit.turned)
    return Reliance(
        verdict,
        said[0],
        tuple(zip(NOISE_STEPS, said[1:-1], strict=True)),
        said[-1],
        round(number, 4),
        depends,
        sentence,
        len(sights),
    )


def turning(student: Student, root: Path, cases: Sequence[CaseInput]) -> Turned:
    """Ask about cases with a blank for their picture; count the in-context verdicts, and those that turn.

    `root` is what the names of pictures are relative to; the first `TURNING_CASES` cases are asked about.
    """
    asked = cases[:TURNING_CASES]
    shown = [load_picture(root / case.image, student.edge) for case in asked]
    was_in = was_turned = 0
    for start in range(0, len(asked), AT_ONCE):
        part, pictures = asked[start : start + AT_ONCE], shown[start : start + AT_ONCE]
        seen = student.read(see(student, pictures), part)
        blanked = student.read(see(student, [blank(one) for one in pictures]), part)
        for with_picture, without in zip(seen, blanked, strict=True):
            was_in += with_picture.margin < 0
            was_turned += with_picture.margin < 0 <= without.margin
    return Turned(was_turned, was_in)


def turned(student: Student, root: Path, cases: Sequence[CaseInput]) -> dict[str, Any]:
    """Return what `calibration.json` keeps of `turning`; nothing where there are no cases."""
    return {"turned": asdict(turning(student, root, cases))} if cases else {}


def moved(clean: float, faded: Sequence[float]) -> float:
    """Return how far log-odds move as the picture goes, as a share of what they are: 0 to 1.

    The mean over the faded pictures of |m - m'| / (|m| + |m'|), which is 1 where sides change.
    """
    return mean(abs(clean - one) / max(abs(clean) + abs(one), 1e-9) for one in faded)


def blank(picture: Image.Image) -> Image.Image:
    """Return a picture of the same size, all in the mean colour."""
    red, green, blue = (round(value) for value in ImageStat.Stat(picture).mean[:3])
    return Image.new("RGB", picture.size, (red, green, blue))


def _as_it_is(pixels: Tensor) -> Tensor:
    return pixels


def _noisy(pixels: Tensor, *, step: int, seed: int) -> Tensor:
    return weaken(pixels, step, seed=seed)


def _conclusion(
    verdict: Verdict, number: float, said: Sequence[float], turned: Turned | None
) -> tuple[bool | None, str]:
    """Say whether the verdict depends on the picture, and in one sentence why."""
    if number >= STILL_BELOW:
        turns = "turns" if min(said[1:]) < 0.5 else "is less sure"
        return True, f"The answer depends on the picture: it {turns} as the picture fades."
    same = "The same answer comes without the picture"
    if verdict is Verdict.OUT_OF_CONTEXT:
        if turned is None or turned.cases < TURNING_CASES_LEAST:
            return None, f"{same}, and a blank fits the caption no better: whether it looked cannot be told."
        of = f"{turned.turned} of its {turned.cases} in-context answers to validation cases"
        if turned.turned >= LOOKS_FROM * turned.cases:
            return True, f"{same}, as a blank fits the caption no better; but {of} need theirs, so it looks."
    return False, "The answer does not depend on the picture: treat it as a guess about the text."
