"""Three scripted teachers for the demo world, with documented blind spots.

They stand in for the big models of a real desk and are marked "scripted" wherever they show. What
each overlooks is in `TEACHERS`; why their mistakes correlate is in `_difficulty`: how hard a
mismatch is to see belongs mostly to the case and only partly to the teacher, as with real models,
which agree on 7-8 % of all cases and are wrong. So a vote among them is beatable, and a random
sample of the cases they agree on is worth a person's time.
"""

import random
from dataclasses import dataclass

from db.vocabulary import Answer
from training import world
from training.world import ELEMENTS, FACTS, WorldCase

SHARED_DIFFICULTY = 0.72
"""Share of a mismatch's difficulty that all teachers meet alike; the rest is each one's own."""


@dataclass(frozen=True, slots=True)
class ScriptedTeacher:
    """What one teacher sees: its chance to notice a mismatch of each fact, and to imagine one."""

    name: str
    blind_spot: str
    notices: dict[str, float]
    imagines: float


TEACHERS: tuple[ScriptedTeacher, ...] = (
    ScriptedTeacher(
        "Atlas (scripted)",
        "knows places and events, hardly looks at weather or people",
        {"event": 0.93, "landmark": 0.93, "time": 0.66, "weather": 0.40, "crowd": 0.32},
        imagines=0.22,
    ),
    ScriptedTeacher(
        "Birch (scripted)",
        "attends to light and weather, takes one landmark for another",
        {"event": 0.88, "landmark": 0.50, "time": 0.82, "weather": 0.68, "crowd": 0.38},
        imagines=0.26,
    ),
    ScriptedTeacher(
        "Cedar (scripted)",
        "reads the action and the people, weak on the hour and the weather",
        {"event": 0.94, "landmark": 0.80, "time": 0.44, "weather": 0.38, "crowd": 0.50},
        imagines=0.25,
    ),
)


@dataclass(frozen=True, slots=True)
class ScriptedOpinion:
    """What a scripted teacher says of a case; confidence is from 0 to 1."""

    teacher: str
    verdict: Answer
    rationale: str
    confidence: float


def opinions(case: WorldCase) -> list[ScriptedOpinion]:
    """Return every teacher's opinion of the case; the same case, the same opinions."""
    shared = random.Random(f"difficulty-{case.id}")
    difficulty = {name: shared.random() for name in (*FACTS, "imagined")}
    return [
        _opinion(teacher, case, difficulty, random.Random(f"{teacher.name}-{case.id}"))
        for teacher in TEACHERS
    ]


def _opinion(
    teacher: ScriptedTeacher, case: WorldCase, difficulty: dict[str, float], rng: random.Random
) -> ScriptedOpinion:
    wrong = [name for name in FACTS if case.scene.fact(name) != case.claimed.fact(name)]
    margins = {name: teacher.notices[name] - _difficulty(difficulty[name], rng) for name in wrong}
    noticed = [name for name in wrong if margins[name] > 0]
    if noticed:
        clearest = max(noticed, key=lambda name: margins[name])
        shown = world.seen(case.scene, clearest, rng)
        return _mismatch(teacher, case, clearest, shown, margins[clearest], rng)
    margin = teacher.imagines - _difficulty(difficulty["imagined"], rng)
    if margin > 0:
        name = rng.choice([name for name in case.said if name not in wrong] or list(case.said))
        shown = world.seen(world.alter(case.scene, [name], rng), name, rng)
        return _mismatch(teacher, case, name, shown, margin, rng)
    if rng.random() < 0.03:
        return ScriptedOpinion(teacher.name, Answer.UNSURE, rng.choice(_UNSURE), 0.5)
    return _agreement(teacher, case, -max([margin, *margins.values()]), rng)


def _difficulty(shared: float, rng: random.Random) -> float:
    return SHARED_DIFFICULTY * shared + (1 - SHARED_DIFFICULTY) * rng.random()


def _confidence(margin: float, rng: random.Random) -> float:
    return round(min(0.98, 0.58 + 0.5 * margin + rng.uniform(-0.05, 0.05)), 2)


_MISMATCH = (
    "The {element} does not fit: the picture shows {shown}, the caption says {told}.",
    "The {element} is different: the caption says {told}, but the picture shows {shown}.",
    "The {element} does not fit: we see {shown}, the caption speaks of {told}.",
    "The {element} is different: we see {shown}, whereas the caption says {told}.",
)
_AGREEMENT = (
    "The picture shows {event} and {landmark}, as the caption says.",
    "The caption agrees with the picture: {event} at {landmark}.",
    "The picture matches the caption: we see {event} at {landmark}.",
    "The event and the place fit: {event} at {landmark}.",
)
_UNSURE = (
    "The picture and the caption do not settle it.",
    "The details cannot be seen clearly.",
)


def _mismatch(
    teacher: ScriptedTeacher, case: WorldCase, name: str, shown: str, margin: float, rng: random.Random
) -> ScriptedOpinion:
    told = world.SEEN[name][case.claimed.fact(name)] if name in world.SEEN else case.said[name]
    rationale = rng.choice(_MISMATCH).format(element=ELEMENTS[name].value, shown=shown, told=told)
    return ScriptedOpinion(teacher.name, Answer.OUT_OF_CONTEXT, rationale, _confidence(margin, rng))


def _agreement(
    teacher: ScriptedTeacher, case: WorldCase, margin: float, rng: random.Random
) -> ScriptedOpinion:
    event, landmark = case.said["event"], case.said["landmark"]
    rationale = rng.choice(_AGREEMENT).format(event=event, landmark=landmark)
    return ScriptedOpinion(teacher.name, Answer.IN_CONTEXT, rationale, _confidence(margin, rng))
