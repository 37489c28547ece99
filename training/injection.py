"""Put an error into a rationale: exchange one person, place, time, event or object for another.

After BPO's error injection (arXiv 2403.08730), where a language model rewrites the answer. Rules do it
here (*ours*), so that it costs nothing and needs no model; a language model is another `Rewriter`. What
is exchanged is a phrase whose last word stands in `LIKE`, a date, or a name behind a word that tells
what it names; what comes instead is of the same kind, from another case of the same run, and nothing
that the case's caption or rationales speak of. So the text stays in the run's own register, and says of
picture or caption what is not there, as far as words can tell: a word that `LIKE` does not know may
mean the same. English only.
"""

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

from db.vocabulary import Element
from training.records import CaseInput, Preference

LIKE: dict[str, str] = {
    "event": """
        flood floods flooding flood-water / fire fires blaze wildfire inferno / protest protests
        demonstration rally march sit-in / parade procession carnival / market fair stalls
        market-stalls / match game tournament race / harvest harvest-work / concert performance
        live-music gig / festival celebration party / explosion blast bombing / earthquake tremor /
        crash accident collision derailment / ceremony inauguration coronation / funeral burial
        vigil / wedding / election vote poll / riot clashes unrest looting / storm hurricane typhoon
        tornado cyclone / war battle fighting airstrike / strike walkout / press-conference briefing
        speech / summit meeting conference / arrest trial hearing / landslide avalanche / drought /
        launch unveiling opening""",
    "landmark": """
        tower / bridge / cathedral church chapel / windmill / lighthouse / castle palace fortress /
        factory factories chimney chimneys plant / parliament capitol / mosque minaret / temple
        pagoda / synagogue / square plaza / stadium arena / airport runway terminal / station
        platform / harbour harbor port dock / beach shore coast / mountain mountains hill / river
        canal / street road avenue highway / school university classroom / hospital clinic / prison
        jail / court courtroom courthouse / museum gallery / shop store supermarket mall / farm
        field fields / forest woods park / desert / embassy consulate""",
    "people": """
        nobody no-one / crowd crowds thousands hundreds / few-people handful onlookers / man men /
        woman women / child children boy girl / soldier soldiers troops / police officer officers /
        protester protesters demonstrators / player players footballer athlete / singer musician
        band / president / minister / mayor / king / queen / pope bishop priest / doctor doctors
        nurse / firefighter firefighters / worker workers / farmer farmers / refugees migrants /
        actor actress""",
    "hour": """
        daylight daytime noon midday / dusk sunset twilight / night midnight / dawn sunrise /
        morning / afternoon / evening""",
    "weather": "clear-weather clear-sky dry-weather sunshine / rain downpour / snow / fog mist",
    "season": "spring / summer / autumn / winter",
    "object": """
        car cars / bus buses / truck trucks lorry / train tram / plane aircraft jet helicopter /
        tank tanks / boat ship ferry vessel / bicycle bike motorcycle / flag flags / banner banners
        placard placards sign / gun rifle weapon weapons / ball / trophy medal cup / dog / cat /
        horse / cow cattle / bird / hat helmet cap / mask masks / umbrella umbrellas / phone camera
        / book newspaper / tent tents""",
}
"""Words by the kind of thing they name. Those between two strokes mean much the same, so that neither is an
error for the other; a hyphen stands for a space."""

ELEMENTS: dict[str, Element] = {
    "event": Element.EVENT,
    "landmark": Element.PLACE,
    "place name": Element.PLACE,
    "people": Element.PERSON,
    "person name": Element.PERSON,
    "object": Element.OBJECT,
    **dict.fromkeys(("hour", "weather", "season", "month", "weekday", "year", "date"), Element.TIME),
}
"""Which element of a claim each kind of thing is. Weather counts as time: it dates a picture."""

_DETERMINERS = frozenset(
    {"a", "an", "the", "this", "that", "these", "those", "some", "several", "many", "no"}
)
_VERBS_TOO = frozenset(
    {"match", "march", "fire", "strike", "launch", "crash", "vote", "race", "sign", "park"}
)
"""Words that name a thing only behind a determiner: "the details match the caption"."""
_NEVER_INSIDE = re.compile(
    r"of|in|on|at|by|with|and|or|but|as|is|are|was|were|not|from|to|for|\w*s[ae]ys?|shows?|sees?"
)
_NAMES = {
    "person name": re.compile(
        r"\b(?:Mrs?|Ms|Dr|Sir|President|Prime Minister|Minister|Senator|Chancellor|Mayor|Pope|King|Queen"
        r"|Prince|Princess|Governor|General)\.? ((?:[A-Z][\w'-]+)(?: [A-Z][\w'-]+){0,2})"
    ),
    "place name": re.compile(
        r"\b(?:in|at|near|from|outside|to|across|of) ((?:[A-Z][\w'-]+)(?: [A-Z][\w'-]+){0,2})"
    ),
}
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_TIMES = {
    "date": re.compile(rf"\b(?:\d{{1,2}} (?:{_MONTHS})|(?:{_MONTHS}) \d{{1,2}})(?:,? (?:1[89]|20)\d\d)?\b"),
    "year": re.compile(r"\b(?:1[89]|20)\d\d\b"),
    "month": re.compile(rf"\b(?:{_MONTHS})\b"),
    "weekday": re.compile(r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b"),
}
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
LOOKED_AT = 200  # phrases of a kind, drawn anew for each exchange; a long run knows tens of thousands
MODIFIERS = 3  # words between a determiner and the word that tells the kind: "the old clock tower"


class Mention(NamedTuple):
    """A phrase of a text: where it is, the kind of thing it names, and what counts as the same thing."""

    start: int
    end: int
    text: str
    kind: str
    things: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A rationale with one error in it, and what the error is."""

    rationale: str
    element: Element
    replaced: str
    replacement: str


class Rewriter(Protocol):
    """Writes a plausible rationale that is wrong; `name` is kept with what it wrote."""

    name: str

    def rewrite(self, preference: Preference, *, seed: int) -> Rewriting | None:
        """Return the chosen rationale with an error; None where none can be put in."""


class Swaps:
    """Exchanges a phrase of a rationale for one of the same kind from another case of the run."""

    name = "swaps"

    def __init__(self, told: Iterable[tuple[CaseInput, str]]) -> None:
        """Take in the phrases of the run: every case with each rationale that is told of it."""
        found: dict[str, dict[str, tuple[Mention, set[str]]]] = {}
        for case, rationale in told:
            for mention in (*mentions(rationale), *mentions(case.caption)):
                kept = found.setdefault(mention.kind, {}).setdefault(mention.text, (mention, set()))
                if len(kept[1]) < 2:  # whether another case has it is all one wants to know
                    kept[1].add(case.group or case.id)
        self.known = {kind: list(phrases.values()) for kind, phrases in found.items()}

    def rewrite(self, preference: Preference, *, seed: int) -> Rewriting | None:
        """Exchange one phrase of the chosen rationale, drawn with `seed`; None where none has another."""
        rng = random.Random(seed)
        case = preference.case
        own = list(mentions(preference.chosen))
        told = (*own, *mentions(preference.rejected), *mentions(case.caption))
        things = frozenset[str]().union(*(mention.things for mention in told))
        rng.shuffle(own)
        for mention in own:
            known = self.known.get(mention.kind, [])
            for other, groups in rng.sample(known, min(len(known), LOOKED_AT)):
                if not other.things & things and groups != {case.group or case.id}:
                    return _exchanged(preference.chosen, mention, other.text)
        return None


def mentions(text: str) -> Iterator[Mention]:
    """Yield the phrases of a text that name a person, place, time, event or object, none overlapping."""
    taken: list[tuple[int, int]] = []
    for mention in (*_dates(text), *_names(text), *_phrases(text)):
        if all(mention.end <= start or mention.start >= end for start, end in taken):
            taken.append((mention.start, mention.end))
            yield mention


def _dates(text: str) -> Iterator[Mention]:
    for kind, pattern in _TIMES.items():
        for match in pattern.finditer(text):
            yield Mention(*match.span(), match[0], kind, frozenset({match[0]}))


def _names(text: str) -> Iterator[Mention]:
    for kind, pattern in _NAMES.items():
        for match in pattern.finditer(text):
            if match[1].lower() not in _things():
                yield Mention(*match.span(1), match[1], kind, frozenset(match[1].split()))


@cache
def _things() -> dict[str, tuple[str, str]]:
    """Return, by word or words, the kind of what they name, and the first word of those like it."""
    return {
        words.replace("-", " "): (kind, like.split()[0])
        for kind, likes in LIKE.items()
        for like in likes.split("/")
        for words in like.split()
    }


def _phrases(text: str) -> Iterator[Mention]:
    words = [(match.start(), match.end(), match[0].lower()) for match in _WORD.finditer(text)]
    at = 0
    while at < len(words):
        last, kind, things = _named(text, words, at)
        if not kind:
            at += 1
            continue
        first = _first(text, words, at)
        start, end = words[first][0], words[last][1]
        said = text[start:end]
        if _names_a_thing([word for _, _, word in words[first : last + 1]], said):
            yield Mention(start, end, said[0].lower() + said[1:], kind, things)
        at = last + 1


def _names_a_thing(words: list[str], said: str) -> bool:
    """Say no to parts of names, and to words that may be verbs where a plural stands before them."""
    if words[0] not in _DETERMINERS:
        return said[0].islower() and words[-1] not in _VERBS_TOO
    return words[-1] not in _VERBS_TOO or not any(word.endswith("s") for word in words[1:-1])


def _named(text: str, words: list[tuple[int, int, str]], at: int) -> tuple[int, str, frozenset[str]]:
    """Return where the words from `at` on that name one kind of thing end, the kind, and the things."""
    kind, things, last = "", set[str](), at
    while at < len(words):
        pair = words[at : at + 2]
        two = " ".join(word for _, _, word in pair) if len(pair) == 2 and _touch(text, *pair) else ""
        width, found = (2, _things()[two]) if two in _things() else (1, _things().get(words[at][2]))
        if found is None or (kind and (found[0] != kind or not _touch(text, words[last], words[at]))):
            break
        kind, last = found[0], at + width - 1
        things.add(found[1])
        at = last + 1
    if kind and words[last + 1 : last + 2] and words[last + 1][2] == "building":
        last += 1  # "the parliament building" is one thing
    return last, kind, frozenset(things)


def _first(text: str, words: list[tuple[int, int, str]], at: int) -> int:
    """Return where the phrase whose telling word is at `at` begins: at its determiner, if it has one."""
    for before in range(at - 1, max(-1, at - MODIFIERS - 1), -1):
        word = words[before][2]
        if not _touch(text, words[before], words[before + 1]):
            break
        if word in _DETERMINERS:
            return before
        if _NEVER_INSIDE.fullmatch(word) or word in _things():
            break
    return at


def _touch(text: str, one: tuple[int, int, str], next_one: tuple[int, int, str]) -> bool:
    return text[one[1] : next_one[0]] == " "


def _exchanged(text: str, mention: Mention, other: str) -> Rewriting:
    new = other[0].upper() + other[1:] if text[mention.start].isupper() else other
    changed = text[: mention.start] + new + text[mention.end :]
    return Rewriting(changed, ELEMENTS[mention.kind], mention.text, other)
