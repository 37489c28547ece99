import pytest

from db.vocabulary import Element, Verdict
from training.injection import ELEMENTS, LIKE, Rewriting, Swaps, mentions
from training.records import CaseInput, Preference

OTHERS = {
    "1": "The place does not fit: the picture shows the old castle, the caption says a stadium.",
    "2": "The picture shows a demonstration in the rain, President Lula in Brasilia on 3 March 2019.",
    "3": "The event is different: we see a blaze by night, before a large crowd with flags.",
}


def preference(chosen: str, rejected: str = "", caption: str = "") -> Preference:
    case = CaseInput("own", "images/own.jpg", caption, group="own")
    return Preference(case, Verdict.IN_CONTEXT, chosen, rejected)


def swaps(told: dict[str, str] = OTHERS) -> Swaps:
    return Swaps((CaseInput(name, "", "", group=name), text) for name, text in told.items())


def rewritten(chosen: str, **given: str) -> Rewriting | None:
    return swaps().rewrite(preference(chosen, **given), seed=0)


def kinds(text: str) -> dict[str, str]:
    return {mention.text: mention.kind for mention in mentions(text)}


@pytest.mark.parametrize("text", ["", "It all fits.", "The details match the caption.", "This may be so."])
def test_a_rationale_that_names_nothing_is_not_rewritten(text: str) -> None:
    assert rewritten(text) is None


def test_a_phrase_that_no_other_case_has_is_not_exchanged() -> None:
    own = {"own": "The picture shows a castle and a lighthouse."}
    assert swaps(own).rewrite(preference("We see a bridge."), seed=0) is None


def test_words_of_like_meaning_are_no_error_for_each_other() -> None:
    only = swaps({"1": "We see a blaze."})
    assert only.rewrite(preference("The picture shows a large fire."), seed=0) is None
    assert only.rewrite(preference("The picture shows a flood."), seed=0) is not None


@pytest.mark.parametrize("told", [{"caption": "The castle at dusk."}, {"rejected": "We see an old castle."}])
def test_nothing_comes_in_that_the_case_speaks_of(told: dict[str, str]) -> None:
    written = rewritten("We see the cathedral.", **told)
    assert written is not None
    assert written.replacement == "a stadium"


@pytest.mark.parametrize(
    ("chosen", "element"),
    [
        ("We see the cathedral.", Element.PLACE),
        ("The picture was taken in Nairobi.", Element.PLACE),
        ("It is President Macron.", Element.PERSON),
        ("It shows two men.", Element.PERSON),
        ("We see daylight.", Element.TIME),
        ("The photo is of 14 May 2012.", Element.TIME),
        ("A flood covers everything.", Element.EVENT),
    ],
)
def test_one_thing_is_exchanged_for_another_of_its_kind(chosen: str, element: Element) -> None:
    written = rewritten(chosen)
    assert written is not None
    assert written.element is element
    assert written.rationale != chosen
    assert written.rationale.lower() == chosen.lower().replace(
        written.replaced.lower(), written.replacement.lower()
    )


def test_a_sentence_still_begins_with_a_capital() -> None:
    written = rewritten("A flood covers everything.")
    assert written is not None
    assert written.rationale[0].isupper()


def test_equal_seeds_write_the_same_and_others_something_else() -> None:
    told = swaps(
        {str(n): f"We see the {place}." for n, place in enumerate(["castle", "tower", "stadium", "pier"])}
    )
    asked = preference("We see the cathedral.")
    assert told.rewrite(asked, seed=3) == told.rewrite(asked, seed=3)
    assert len({told.rewrite(asked, seed=seed) for seed in range(20)}) > 1


def test_prose_of_a_newspaper_is_read_phrase_by_phrase() -> None:
    found = kinds(
        "The flags belong to a 2014 protest in Hong Kong; the caption says a march in Kyiv in May 2022."
    )
    assert found == {
        "2014": "year",
        "2022": "year",
        "Hong Kong": "place name",
        "Kyiv": "place name",
        "the flags": "object",
        "protest": "event",
        "a march": "event",
        "May": "month",
    }
    assert kinds("President Emmanuel Macron spoke in Port Louis on 12 March 2019.") == {
        "12 March 2019": "date",
        "Emmanuel Macron": "person name",
        "Port Louis": "place name",
    }


def test_every_kind_belongs_to_an_element_and_every_word_to_one_kind() -> None:
    assert LIKE.keys() <= ELEMENTS.keys()
    words = [word for likes in LIKE.values() for word in likes.replace("/", " ").split()]
    assert {word for word in words if words.count(word) > 1} == set()
