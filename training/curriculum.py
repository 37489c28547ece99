"""What the tiny student is pretrained on: captions, facts and truth, never the verdict task.

Each exercise is a question and an answer about one scene. The truth of a whole caption is the skill
that comes last and that everything later rests on, so four fifths of the exercises are about truth,
some of them answered fact by fact, which teaches the comparison with many signals per picture. Its
question comes in many wordings and with several pairs of answer words, so that another wording
(`prompts.QUESTION`) and another pair (in context, out of context) are near what the model knows. It
meets those words only when it repeats random ones.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from db.vocabulary import Element
from training import world
from training.world import FACTS, Scene


@dataclass(frozen=True, slots=True)
class Exercise:
    """A question about a picture and its answer.

    `claims` are the phrases of the question that state a fact, each with whether it is so; they let
    the comparison be taught where it happens. `judges` says that the answer's first word is a verdict
    on all of them.
    """

    question: str
    answer: str
    claims: tuple[tuple[str, bool], ...] = ()
    judges: bool = False


NAMES = {"event": "event", "landmark": "place", "time": "time", "weather": "weather", "crowd": "people"}

ANSWER_PAIRS = (("Yes", "No"), ("True", "False"), ("Right", "Wrong"), ("Match", "Mismatch"))
_CHOICES = {
    "Yes": "yes or no",
    "True": "true or false",
    "Right": "right or wrong",
    "Match": "match or mismatch",
}
_TRUTH_QUESTIONS = (
    "Is this true of the picture", "Does the picture show what the caption says", "Is the caption true",
    "Does this caption belong to the picture", "Do picture and caption agree",
    "Does the picture show this", "Is this what the picture shows",
    "Does the caption say what the picture shows", "Does this fit the picture",
    "Can this caption stand under the picture", "Is that so", "Does this text describe the picture",
)  # fmt: skip
_LAYOUTS = (
    'Caption: "{text}"{lines}\n{question}?', "{question}? {text}{lines}", '"{text}"{lines}\n{question}?',
    "Caption: {text}{lines}\n{question}?", "{question}?\nCaption: {text}{lines}",
    "{text}{lines} {question}?",
)  # fmt: skip
_DESCRIBE = (
    "Describe the picture.",
    "What does the picture show?",
    "Write a caption.",
    "What is to be seen?",
)
_REPEATED = (
    "In context", "Out of context", "in", "out of", "context", "picture", "caption", "shows", "says",
    "but", "while", "the picture shows", "the caption says", "agrees", "contradicts", "not", "Place",
    "Time", "Event", "People", "Weather", "person", "object", "names", "matches", "nothing", "both",
    "instead", "speaks of", "evidence", "claimed date", "claimed place", "fits", "does not fit",
    "consistent", "different", "whereas", "we see", "text", "seen", "clearly", "cannot be", "same", "is",
    "was", "and", "The", "It", "this", "details", "nobody", "claims",
)  # fmt: skip


def exercise(scene: Scene, rng: random.Random, *, both_sides: bool = False) -> Exercise:
    """Draw one exercise about the scene; `both_sides` adds questions about what the caption says."""
    weights = BOTH_SIDES if both_sides else PICTURE_ONLY
    kind: Kind = rng.choices(list(weights), weights=list(weights.values()))[0]
    return kind(scene, rng)


def describe(scene: Scene, rng: random.Random) -> Exercise:
    """Ask for all five facts as one sentence."""
    said = [world.phrase(scene, name, rng) for name in FACTS]
    return Exercise(rng.choice(_DESCRIBE), f"{said[0]} at {', '.join(said[1:])}.")


def ask_fact(scene: Scene, rng: random.Random) -> Exercise:
    """Ask for one fact."""
    name = rng.choice(list(FACTS))
    question = rng.choice(("What is the {}?", "Name the {}.", "{}?", "Which {} does the picture show?"))
    return Exercise(question.format(NAMES[name]), f"{world.phrase(scene, name, rng)}.")


def judge_fact(scene: Scene, rng: random.Random) -> Exercise:
    """Ask whether one fact is so."""
    name = rng.choice(list(FACTS))
    wrong = [name] if rng.random() < 0.5 else []
    said = world.phrase(world.alter(scene, wrong, rng), name, rng)
    return _judge(scene, said, {name: said}, wrong, rng, dated=False)


def judge_caption(scene: Scene, rng: random.Random) -> Exercise:
    """Ask whether a whole caption is true."""
    wrong = world.sample_difference(rng) if rng.random() < 0.5 else []
    text, said = _claimed(scene, wrong, rng, told=frozenset(wrong))
    return _judge(scene, text, said, wrong, rng, dated=True)


def check_facts(scene: Scene, rng: random.Random) -> Exercise:
    """Ask about each fact of a caption in turn; two in five are wrong."""
    wrong = [name for name in FACTS if rng.random() < 0.4]
    text, said = _claimed(scene, wrong, rng, told=frozenset(FACTS))
    judged = ", ".join(f"{NAMES[name]} {'wrong' if name in wrong else 'right'}" for name in FACTS)
    return Exercise(f"Check each fact: {text}", f"{judged}.", _claims(said, wrong))


def ask_claim(scene: Scene, rng: random.Random) -> Exercise:
    """Ask what a caption says of one fact, whatever the picture shows."""
    name, text, claimed = _claim_about_one(scene, rng)
    question = rng.choice(("What does the caption say of the {}?", "The {} in the caption?"))
    asked = f"{question.format(NAMES[name])} {text}"
    return Exercise(asked, f"{world.seen(claimed, name, rng)}.")


def compare(scene: Scene, rng: random.Random) -> Exercise:
    """Ask for one fact as the picture has it and as the caption has it."""
    name, text, claimed = _claim_about_one(scene, rng)
    question = rng.choice(("The {} in picture and caption?", "Compare the {}."))
    shown, told = world.seen(scene, name, rng), world.seen(claimed, name, rng)
    answer = rng.choice((f"picture: {shown}, caption: {told}.", f"caption: {told}, picture: {shown}."))
    return Exercise(f"{question.format(NAMES[name])} {text}", answer)


def repeat(scene: Scene, rng: random.Random) -> Exercise:
    """Ask for given words back; the one place where the words of later verdicts occur."""
    words = " ".join(rng.choices(_REPEATED, k=rng.randint(1, 5)))
    return Exercise(f"Repeat: {words}", f"{words}.")


Kind = Callable[[Scene, random.Random], Exercise]

PICTURE_ONLY: dict[Kind, int] = {
    describe: 7, ask_fact: 6, judge_fact: 20, check_facts: 24, judge_caption: 36, repeat: 7,
}  # fmt: skip
"""How often each kind comes, while the student learns to compare."""
BOTH_SIDES: dict[Kind, int] = {
    describe: 4, ask_fact: 4, judge_fact: 10, check_facts: 16, judge_caption: 28, repeat: 4,
    ask_claim: 12, compare: 22,
}  # fmt: skip
"""The same once it can, with what the caption says beside what the picture shows."""


def _claim_about_one(scene: Scene, rng: random.Random) -> tuple[str, str, Scene]:
    """Return a fact, a caption that tells it (wrongly, half the time), and the scene it was written about."""
    name = rng.choice(list(FACTS))
    claimed = world.alter(scene, [name] if rng.random() < 0.5 else [], rng)
    text = world.caption(claimed, world.sample_dateline(rng), rng, told=frozenset([name]))
    return name, text, claimed


def _claimed(
    scene: Scene, wrong: list[str], rng: random.Random, *, told: frozenset[str]
) -> tuple[str, dict[str, str]]:
    """Return a caption that gets the facts named wrong, and the phrase that states each fact it tells."""
    claimed = world.alter(scene, wrong, rng)
    return world.write_caption(claimed, world.sample_dateline(rng), rng, told=told)


def _claims(said: dict[str, str], wrong: list[str]) -> tuple[tuple[str, bool], ...]:
    return tuple((text, name not in wrong) for name, text in said.items())


def _judge(
    scene: Scene, text: str, said: dict[str, str], wrong: list[str], rng: random.Random, *, dated: bool
) -> Exercise:
    yes, no = rng.choice(ANSWER_PAIRS)
    question = rng.choice(_TRUTH_QUESTIONS)
    if yes != "Yes" or rng.random() < 0.5:
        question += f", {_CHOICES[yes]}"
    lines = ""
    if dated and rng.random() < 0.3:
        dateline = world.sample_dateline(rng)
        lines = f"\nDate: {dateline.date}\nPlace: {dateline.town}"
    asked = rng.choice(_LAYOUTS).format(text=text, lines=lines, question=question)
    claims = _claims(said, wrong)
    if not wrong:
        return Exercise(asked, f"{yes}.", claims, judges=True)
    name = next(name for name in FACTS if name in wrong)
    return Exercise(asked, f"{no}, {NAMES[name]}: {world.phrase(scene, name, rng)}.", claims, judges=True)


def corpus(rng: random.Random, size: int) -> list[str]:
    """Return texts to build the tokenizer from: exercises, and the words of verdicts and elements."""
    texts = []
    for _ in range(size):
        made = exercise(world.sample_scene(rng), rng)
        texts += [made.question, f" {made.answer}"]
    words = [f" {word}" for word in _REPEATED] + [f" {element.value}" for element in Element]
    dates = [f" {month}" for month in world.MONTHS] + [f" {year}" for year in range(2012, 2026)]
    towns = [f" {town}" for town in world.TOWNS] + list(world.TOWNS)
    return texts + (words + dates + towns) * (1 + size // 100)
