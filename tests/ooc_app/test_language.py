import re
from typing import Any

import pytest

from db.vocabulary import Answer, Cause, Element, EvidenceKind
from ooc_app.adjudicate import REFUSALS, SCRIPTS
from ooc_app.language import LANGUAGES, sentence, texts
from ooc_app.theme import ASSETS

OTHERS = [language for language in LANGUAGES if language != "en"]
NAMED = re.compile(r"""(?<![\w.])t\(\s*"([\w.]+)"|data-t(?:-\w+)?="([\w.]+)\"""")


def fields(text: Any) -> set[str]:
    """What belongs into a text."""
    return set(re.findall(r"\{(\w+)\}", text if isinstance(text, str) else text["other"]))


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_every_text_with_the_same_values_in_it(language: str) -> None:
    english, other = texts("en"), texts(language)
    assert other.keys() == english.keys()
    assert {name for name in english if fields(english[name]) != fields(other[name])} == set()
    assert [name for name, text in other.items() if not text] == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_is_not_english_left_over(language: str) -> None:
    english, other = texts("en"), texts(language)
    alike = {name for name in english if english[name] == other[name]}
    assert alike <= {"says.closed", "person.seconds"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_the_vocabulary_that_the_page_shows_has_a_text(language: str) -> None:
    kinds = {"verdict": Answer, "element": Element, "cause": Cause, "evidence": EvidenceKind}
    wanted = {f"{kind}.{word.value}" for kind, words in kinds.items() for word in words}
    assert wanted <= texts(language).keys()


def test_every_text_that_page_and_handlers_name_is_there() -> None:
    sources = [(ASSETS / name).read_text() for name in (*SCRIPTS, "account.js", "adjudicate.html")]
    named = {one or other for source in sources for one, other in NAMED.findall(source)}
    whole = {name for name in named if not name.endswith(".")}
    assert len(whole) > 60
    assert whole - texts("en").keys() == set()
    assert {sentence(name)["key"] for name in REFUSALS.values()} <= texts("en").keys()
