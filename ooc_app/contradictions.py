"""Find the words on which rationales contradict each other, and the caption's words they refer to.

A point is a pair, where a rationale puts one thing in another's place ("Halden, not Norvik"); a difference,
where two sides tell another year, number or name at the same place; or words of the caption that both use,
best if one denies. Small words, no grammar. Of Chinese characters, two in a row count as a word.
"""
# ruff: noqa: RUF001 - letters of other scripts are meant

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import chain, combinations, islice, pairwise
from typing import Final, NamedTuple

POINTS_MAX: Final = 8  # more colours than that nobody tells apart
WEAK_MAX: Final = 4  # points whose only reason is that both sides use the word
CAPTION_READ: Final = 2_000  # characters; what comes after them stays plain
RATIONALE_READ: Final = 4_000
RATIONALES_READ: Final = 8
PAIRS_MAX: Final = 12  # of one rationale; a text that denies more says nothing by it
SKIPPED_MAX: Final = 5  # small words between "not" and what is denied: "not the same as in the"
PHRASE_MAX: Final = {"character": 8, "word": 3, "vague": 4}  # words of a phrase, by the kind of its first

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_JOINED = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0dff\u200c\u200d"
_SMALL = "而不是|并不是|不是|而是|而非|并非|没有|图片|照片|图中|标题|说明|显示|提到|ではなく"
_TOKEN = re.compile(
    rf"\d+(?:[.,:/]\d+)*[a-zA-Z]{{0,3}}|[^\W_{_CJK}]+(?:[{_JOINED}]+[^\W_{_CJK}]*)*|{_SMALL}|[{_CJK}]"
    r"|[^\w\s'’\"“”„«»‹›「」『』*`-]{1,8}"
)
_CHARACTER = re.compile(f"[{_CJK}]")
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0640\u200c\u200d]")
_THOUSANDS = re.compile(r"[.,](?=\d{3}(?!\d))")
_ARABIC_ARTICLE = re.compile("(?:[وبف]?ال|لل)(?=..)")
_CYRILLIC_ENDING = re.compile("(?<=....)(?:[аяыи]ми|[оеы]го|[ое]му|[аеиоуыя][имх]|[ое]в|[аеиоуыэюяь])$")

_KINDS = {
    "function": """the this that these those there here its are was were been being and nor for from into off
        onto out over with within under near beside behind front between through during before after
        about against while whereas when where which who what how than then such also both only even more
        very too has have had does did can could would may will she they his her their our
        your some any each all another one los las una unos unas del con por para sobre entre que
        der die das den dem des ein eine und ist von vom mit auf aus une est sont dans 的 了 在 也 与 和""",
    "report": """match matches fit fits consistent agree agrees suggest suggests appear appears seem seems
        look looks visible seen clearly really right true said sign evidence place time event person""",
    "vague": "old new large big small huge heavy thick dense clear few many several long tall high young",
    "month": "january february march april june july august september october november december marzo abril",
    "number": "two three four five six seven eight nine ten/dos tres cuatro cinco seis siete ocho",
}
_ROLES = {
    "not": "not no nicht pas ni не لا ليس ليست לא 不是 并不是 并非",
    "none": "never without kein keine keinen sin нет без لم אין 没有",
    "but": "but sino sondern mais а но بل אלא 而是",
    "instead": "rather instead lugar vez lieu plutot statt вместо بدلا وليس ולא 而不是 而非 ではなく",
    "claim": "caption claim headline title leyenda pie titular legende подпись التعليق 标题 说明",
    "picture": "picture image photo scene we imagen foto bild wir nous снимок الصورة 图片 照片 图中",
    "states": "says claims mentions speaks shows see dice habla muestra sagt zeigt dit 显示 称 说 是",
    "denies": "however but different wrong contradicts cannot yet doesn isn absent ne pero 不 无 没 غير",
}
_AFTER = {"rather": "than", "instead": "of", "lugar": "de", "vez": "de"}
_OF = ("of", "de", "del", "du", "von", "van")
Run = tuple[int, int]  # first and last word


class Segment(NamedTuple):
    text: str
    points: tuple[int, ...]  # numbered from 0, the most telling first; () is plain text


class Marked(NamedTuple):
    caption: list[Segment]
    rationales: list[list[Segment]]  # in the order given
    points: int  # how many points of contention there are


class _Word(NamedTuple):
    key: str  # equal for words that count as the same
    kind: str  # end, comma, function, report, vague, word, number, character
    role: str = ""
    is_content: bool = False
    is_capital: bool = False
    is_date: bool = False  # or a number


@dataclass(slots=True)
class _Text:
    text: str
    verdict: str
    words: list[_Word] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    index: dict[str, list[int]] = field(default_factory=dict)  # places by key; "^key" where with a capital
    roles: list[int] = field(default_factory=list)  # places, as in the next two
    facts: list[int] = field(default_factory=list)  # capitals, numbers, months
    ends: list[int] = field(default_factory=list)  # of sentences
    denying: set[int] = field(default_factory=set)  # numbers of sentences


class _Point(NamedTuple):
    score: int
    keys: frozenset[str]
    runs: dict[int, list[Run]]  # by number of the text; 0 is the caption


def contradictions(caption: str, rationales: Sequence[tuple[str, str]]) -> Marked:
    """Mark what rationales (verdict, text) contradict each other about; joined segments are the text."""
    texts = [_cut(caption[:CAPTION_READ], "")]
    texts += [_cut(text[:RATIONALE_READ], verdict) for verdict, text in rationales[:RATIONALES_READ]]
    points = _most_telling(texts, [*_pairs(texts), *_differences(texts), *_disputed(texts)])
    marked = []
    for place, whole in enumerate([caption, *(text for _, text in rationales)]):
        runs = [(number, point.runs.get(place, ())) for number, point in enumerate(points)]
        spans = [(*span, number) for number, found in runs if found for span in _spans(texts[place], found)]
        marked.append(_segments(whole, spans))
    return Marked(marked[0], marked[1:], len(points))


@cache
def _lexicon() -> dict[str, _Word]:
    known = {word: _Word(word, kind) for kind, words in _KINDS.items() for word in _plain(words).split()}
    for names in _KINDS["number"].split("/"):
        known |= {
            name: _Word(str(n), "number", "", True, False, True) for n, name in enumerate(names.split(), 2)
        }
    roles = {word: role for role, words in reversed(_ROLES.items()) for word in _plain(words).split()}
    return known | {word: _Word(word, "report", role) for word, role in roles.items()}


def _plain(text: str) -> str:
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))


@lru_cache(maxsize=16_384)
def _read(word: str) -> _Word:
    first, plain = word[0], _plain(word)
    if not first.isalnum():
        return _Word("", "end" if any(sign in ".!?。！？؟…" for sign in word) else "comma")
    known = _lexicon().get(plain, _Word(plain, ""))
    if known.kind not in ("", "month") and (known.role != "states" or not first.isupper()):  # United States
        return known
    if first.isdecimal():
        key = "".join(str(unicodedata.decimal(sign, sign)) for sign in plain)
        return _Word(_THOUSANDS.sub("", key), "number", "", True, False, True)
    if _CHARACTER.fullmatch(word):
        return (
            _Word(plain, "character", "", True) if first > "\u309f" else _Word(plain, "function")
        )  # hiragana
    if len(plain) < (2 if word.isupper() else 3 if first < "\u0370" else 4):
        return _Word(plain, "function")
    return _Word(_stem(plain), "word", "", True, first.isupper(), known.kind == "month" and word != "march")


def _stem(plain: str) -> str:
    """Take the plural off a Latin word, the ending off a Cyrillic one and the article off an Arabic one."""
    if plain[0] >= "\u0250":
        return _CYRILLIC_ENDING.sub("", _ARABIC_ARTICLE.sub("", plain, count=1))
    if plain.endswith("ies") and len(plain) > 4:
        return plain[:-3] + "y"
    if plain.endswith("s") and not plain.endswith("ss") and len(plain) > 3:
        plain = plain[:-1]
    return plain[:-1] if plain.endswith("e") and len(plain) > 3 else plain


def _cut(text: str, verdict: str) -> _Text:
    cut = _Text(text, verdict)
    words, spans, index, before = cut.words, cut.spans, cut.index, ""
    for place, found in enumerate(_TOKEN.finditer(text)):
        word = _read(found[0])
        key, kind, role, is_content, is_capital, is_date = word
        words.append(word)
        spans.append(found.span())
        if kind == "character":
            if before:
                index.setdefault(before + key, []).append(place - 1)
        elif is_content:
            index.setdefault(key, []).append(place)
            if is_capital:
                index.setdefault("^" + key, []).append(place)
            if is_capital or is_date:
                cut.facts.append(place)
        elif role:
            cut.roles.append(place)
            if role not in ("claim", "picture", "states"):
                cut.denying.add(len(cut.ends))
        elif kind == "end":
            cut.ends.append(place)
        before = key if kind == "character" else ""
    return cut


def _phrase(text: _Text, place: int, end: int, step: int = 1) -> Run | None:
    """Find the first phrase from a word on, or the last one before it, past small words but no clause."""
    for start in range(place, end, step)[: SKIPPED_MAX + 1]:
        word = text.words[start]
        if word.is_content or (word.kind == "vague" and step > 0):
            reach = _reach(text.words, start, step, end)
            return min(start, reach), max(start, reach)
        if word.kind == "end" or (word.kind == "comma" and start not in (place, place - 1)):
            return None
    return None


def _reach(words: Sequence[_Word], start: int, step: int, end: int) -> int:
    """Say where the phrase that begins at `start` ends; names, dates and other words stay apart."""
    model, place = words[start], start
    most = PHRASE_MAX.get(model.kind, 3) + 2 * model.is_capital
    for place in range(start + step, end, step):
        word = words[place]
        if model.is_date:
            goes_on = word.is_date or (step > 0 and place == start + 1 and word.is_content)
        elif model.kind == "vague" or word.kind == "vague":
            goes_on = word.is_content or word.kind == "vague"
        elif model.is_capital and word.key in _OF and place + step != end:
            goes_on = words[place + step].is_capital
        else:
            goes_on = word.kind == model.kind and word.is_capital == model.is_capital and not word.is_date
        if not goes_on or abs(place - start) >= most:
            return place - step
    return place


def _keys(text: _Text, run: Run) -> frozenset[str]:
    """Say under which keys the words of a phrase stand in an index."""
    words = text.words[run[0] : run[1] + 1]
    keys = {a.key + b.key for a, b in pairwise(words) if a.kind == b.kind == "character"}
    for place, word in enumerate(words, run[0]):
        if word.is_content and word.kind != "character":
            opens = place == 0 or text.words[place - 1].kind == "end"  # a capital there says nothing
            keys.add("^" + word.key if word.is_capital and not opens else word.key)
    return frozenset(keys)


def _mentions(text: _Text, keys: Iterable[str]) -> list[Run]:
    """Find where words of a phrase stand, side by side as one run."""
    runs: list[Run] = []
    words, index = text.words, text.index
    for place in sorted({place for key in keys if key in index for place in index[key]}):
        last = place + (words[place].kind == "character")
        gap = place - runs[-1][1] if runs else 9
        if gap <= 1 or (gap == 2 and words[place - 1].key in _OF and words[place].is_capital):
            runs[-1] = runs[-1][0], last
        else:
            runs.append((place - (place > 0 and words[place - 1].kind == "vague"), last))
    return runs


def _pairs(texts: Sequence[_Text]) -> Iterator[_Point]:
    """Find what a rationale denies, with what it puts in its place."""
    seen = set()
    differ = len({text.verdict for text in texts[1:]}) > 1
    for number, text in enumerate(texts[1:], 1):
        for denied, instead in islice(chain(_told_and_shown(text), _denials(text)), PAIRS_MAX):
            keys, others = _keys(text, denied), _keys(text, instead) if instead else frozenset[str]()
            if not keys or keys & others or (number, keys, others) in seen:
                continue
            seen.add((number, keys, others))
            keys = keys & texts[0].index.keys() or keys
            tied = _mentions(texts[0], keys) or _mentions(texts[0], others)
            longest = max((last - first for first, last in tied), default=0)
            runs = {n: _mentions(other, keys | others) for n, other in enumerate(texts)}
            shared = sum(bool(found) for n, found in runs.items() if n) > 1
            runs[number] += [instead, *([] if keys <= texts[0].index.keys() else [denied])] if instead else []
            runs[0] = [(first, last) for first, last in tied if last - first == longest]
            if (tied or shared or differ) if instead else (tied and text.verdict != "in_context"):
                yield _Point(3 + 5 * bool(tied) + 2 * shared - 3 * (not instead), keys, runs)


def _denials(text: _Text) -> Iterator[tuple[Run, Run | None]]:
    """Find "not X but Y", "Y, not X" and "Y instead of X", as (X, Y)."""
    words, end = [*text.words, _Word("", "end")], len(text.words)
    for place in text.roles:
        role, key, before = words[place].role, words[place].key, words[place - 1]
        is_denial = role in ("not", "none", "instead") and _AFTER.get(key, "") in ("", words[place + 1].key)
        if is_denial and (denied := _phrase(text, place + 1, end)) is not None:
            ahead = words[denied[1] + 1 : denied[1] + 5]
            but = next((n for n, word in enumerate(ahead) if word.role == "but" or word.kind == "end"), 0)
            if role == "not" and ahead[but].role == "but":
                yield denied, _phrase(text, denied[1] + 2 + but, end)
            elif role == "instead" or (
                role == "not" and (before.kind == "comma" or before.key in ("and", "y", "а"))
            ):
                yield denied, _phrase(text, place - 1, -1, -1)
            else:
                yield denied, None


def _told_and_shown(text: _Text) -> Iterator[tuple[Run, Run]]:
    """Find "the caption says X, the picture shows Y", in either order, as (X, Y)."""
    said: dict[str, list[list[Run]]] = {"claim": [], "picture": []}
    words = text.words
    nouns = [place for place in text.roles if words[place].role in said and text.verdict != "in_context"]
    for place, end in pairwise([*nouns[: 2 * PAIRS_MAX], len(words)]):
        last = next((p for p in range(place + 1, min(place + 5, end)) if words[p].role == "states"), end)
        found: list[Run] = []
        while len(found) < 3 and (phrase := _phrase(text, last + 1, end)) is not None:
            found.append(phrase)
            last = phrase[1]
        if found:
            said[words[place].role].append(found)
    for told, shown in zip(said["claim"], said["picture"], strict=False):
        pairs = [(a, b) for a in told for b in shown if not _keys(text, a) & _keys(text, b)]
        yield from sorted(pairs, key=lambda pair: words[pair[0][1]][1:] != words[pair[1][1]][1:])[:1]


def _differences(texts: Sequence[_Text]) -> Iterator[_Point]:
    """Find years, times, numbers of the same things and names in the same place that are not the same."""
    facts = [_facts(text) for text in texts]
    for a, b in combinations(range(1, len(facts)), 2):
        for sort in sorted(facts[a].keys() & facts[b].keys()) if texts[a].verdict != texts[b].verdict else ():
            here, there = dict(facts[a][sort]), dict(facts[b][sort])
            mine = [run for key, run in facts[a][sort] if key not in there]
            its = [run for key, run in facts[b][sort] if key not in here]
            if mine and its and not (keys := _keys(texts[a], mine[0])) & (other := _keys(texts[b], its[0])):
                told = [run for _, run in facts[0].get(sort, ())] or _mentions(texts[0], keys | other)
                yield _Point(7 if told else 4, keys, {0: told, a: mine, b: its})


def _facts(text: _Text) -> dict[str, list[tuple[str, Run]]]:
    """Collect years, times, months, numbers of something and names beside the same words, by sort."""
    facts: dict[str, list[tuple[str, Run]]] = {}
    words, last = text.words, -1
    for first in text.facts:
        if first > last:
            last = first if words[first].is_date else _reach(words, first, 1, len(words))
            key = " ".join(word.key for word in words[first : last + 1])
            for sort in _sorts(words[first], words[max(first - 2, 0) : first], words[last + 1 : last + 3]):
                facts.setdefault(sort, []).append((key, (first, last)))
    return facts


def _sorts(word: _Word, before: Sequence[_Word], after: Sequence[_Word]) -> Iterator[str]:
    if word.kind == "number":
        if ":" in word.key or (len(word.key) == 4 and word.key[:2] in ("17", "18", "19", "20")):
            yield "time" if ":" in word.key else "year"
        noun = next((w for w in after if w.kind not in ("function", "vague")), word)
        if noun.is_content and noun.kind != "number":
            yield f"of {noun.key}"
    elif word.is_date:
        yield "month"
    else:
        for where, near in (("before", before), ("after", after)):
            if len(near) == 2 and near[0].key and near[1].key and {w.kind for w in near} != {"function"}:
                yield f"{where} {near[0].key} {near[1].key}"


def _disputed(texts: Sequence[_Text]) -> Iterator[_Point]:
    """Find words of the caption that rationales of different verdicts use."""
    caption, rationales = texts[0], texts[1:]
    used = [key for key in caption.index if len({r.verdict for r in rationales if key in r.index}) > 1]
    for keys, run in {_keys(caption, run): run for run in reversed(_mentions(caption, used))}.items():
        runs = {n: _mentions(text, keys) for n, text in enumerate(texts)}
        said: dict[bool, set[str]] = {True: set(), False: set()}
        for n, text in enumerate(rationales, 1):
            denies = any(bisect_left(text.ends, first) in text.denying for first, _ in runs[n])
            said[denies] |= {text.verdict} if runs[n] else set()
        opposed = bool(said[True] and said[False] - said[True] - {"out_of_context"})
        named = any(key[0] == "^" or key[0].isdecimal() for key in keys)
        yield _Point(1 + named + 4 * opposed, keys, {**runs, 0: [run]})


def _most_telling(texts: Sequence[_Text], found: Iterable[_Point]) -> list[_Point]:
    """Put points on the same words together, and keep the best of those that can be shown."""
    kept: list[_Point] = []
    for point in sorted(found, key=lambda point: -point.score):
        mine = point.runs[0]
        for other in kept:
            covered = all(any(a <= first and last <= b for a, b in other.runs[0]) for first, last in mine)
            if covered and (mine or (not other.runs[0] and point.keys <= other.keys)):
                for number in point.runs.keys() - {0}:
                    other.runs[number] = other.runs.get(number, []) + point.runs[number]
                break
        else:
            limit = POINTS_MAX if point.score > 1 else WEAK_MAX * (not kept or kept[0].score == 1)
            if len(kept) < limit and any(_spans(texts[n], runs) for n, runs in point.runs.items() if n):
                kept.append(point)
    return kept


def _spans(text: _Text, runs: Iterable[Run]) -> set[tuple[int, int]]:
    """Turn runs of words into stretches of the text; none is all of a rationale."""
    spans = {(text.spans[first][0], text.spans[last][1]) for first, last in runs}
    return {span for span in spans if not text.verdict or span[1] - span[0] < len(text.text.strip())}


def _segments(text: str, spans: Iterable[tuple[int, int, int]]) -> list[Segment]:
    changes: dict[int, list[tuple[int, int]]] = {0: [], len(text): []}
    for start, end, point in spans:
        changes.setdefault(start, []).append((point, 1))
        changes.setdefault(end, []).append((point, -1))
    segments: list[Segment] = []
    within = [0] * POINTS_MAX  # marks of each point that are open
    for start, end in pairwise(sorted(changes)):
        for point, change in changes[start]:
            within[point] += change
        points = tuple(point for point, marks in enumerate(within) if marks)
        before = segments.pop().text if segments and segments[-1].points == points else ""
        segments.append(Segment(before + text[start:end], points))
    return segments
