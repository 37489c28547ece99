import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rdflib import Graph, Namespace
from rdflib.namespace import RDF

from db.cases import NewCase, add_cases
from db.engine import write_session
from db.vocabulary import Answer
from ooc_app.desk import Desk
from ooc_app.export.exporting import export_cases
from tests.ooc_app.export.conftest import ruled

SCHEMA = Namespace("https://schema.org/")


def reviews_of(desk: Desk, path: Path, **options: Any) -> list[dict[str, Any]]:
    export_cases(desk, "claimreview", path, **options)
    read: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return read


def test_only_settled_cases_are_reviewed(full_desk: Desk, tmp_path: Path) -> None:
    reviews = reviews_of(full_desk, tmp_path / "reviews.json")
    assert [(one["identifier"], one["reviewRating"]["ratingValue"]) for one in reviews] == [
        ("first/conflict", 1),
        ("first/second conflict", 5),
    ]


def test_a_review_says_what_was_claimed_and_what_was_found(full_desk: Desk, tmp_path: Path) -> None:
    review, other = reviews_of(full_desk, tmp_path / "reviews.json")
    assert (review["claimReviewed"], review["datePublished"]) == ("A flood.", "2026-11-22")
    assert review["reviewRating"]["alternateName"] == "Out of context"
    assert review["reviewBody"] == "The sign is in another language </script>."
    assert review["author"] == {"@type": "Organization", "name": "OOC Desk"}
    claim = review["itemReviewed"]
    assert (claim["author"]["name"], claim["appearance"]["url"], claim["temporal"]) == (
        "The Post",
        "https://post.example/1",
        "12 March 2021",
    )
    media = review["associatedMediaReview"]
    assert media["mediaAuthenticityCategory"] == {"@id": "https://schema.org/DecontextualizedContent"}
    assert len(media["itemReviewed"]["mediaItemAppearance"]["sha256"]) == 64
    assert other["associatedMediaReview"]["mediaAuthenticityCategory"]["@id"].endswith("OriginalMediaContent")
    assert None not in other.values()


def test_annotators_are_its_authors_on_request(full_desk: Desk, tmp_path: Path) -> None:
    review, _ = reviews_of(full_desk, tmp_path / "reviews.json", names=True)
    assert review["author"] == [{"@type": "Person", "name": "maria"}, {"@type": "Person", "name": "jan"}]


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")  # rdflib's own reader of JSON-LD
def test_it_is_linked_data_in_schema_orgs_terms(full_desk: Desk, tmp_path: Path) -> None:
    reviews_of(full_desk, tmp_path / "reviews.json")
    graph = Graph().parse(tmp_path / "reviews.json", format="json-ld")
    found = set(graph.subjects(RDF.type, SCHEMA.ClaimReview))
    assert len(found) == 2
    for review in found:
        media = graph.value(review, SCHEMA.associatedMediaReview)
        assert graph.value(media, RDF.type) == SCHEMA.MediaReview
        assert graph.value(graph.value(review, SCHEMA.itemReviewed), RDF.type) == SCHEMA.Claim
    categories = set(graph.objects(None, SCHEMA.mediaAuthenticityCategory))
    assert categories == {SCHEMA.DecontextualizedContent, SCHEMA.OriginalMediaContent}


@pytest.mark.parametrize(
    "caption",
    ["</script><script>alert(1)</script>", "<!--<script>", "]]>&lt;", "a\u2028b\u2029c", "</SCRIPT\n>"],
)
def test_no_caption_breaks_out_of_a_page_that_embeds_it(caption: str, desk: Desk, tmp_path: Path) -> None:
    with write_session(desk.sessions) as session:
        add_cases(session, "test", [NewCase("1", caption, source=caption)])
    ruled(desk, 1, "maria", Answer.OUT_OF_CONTEXT, caption)
    (review,) = reviews_of(desk, tmp_path / "reviews.json")
    assert review["claimReviewed"] == review["reviewBody"] == caption
    written = (tmp_path / "reviews.json").read_text(encoding="utf-8")
    assert not set(written) & set("<>&\u2028\u2029")
    page = Page()
    page.feed(f'<script type="application/ld+json">{written}</script><p>')
    assert page.elements == ["script", "p"]


class Page(HTMLParser):
    """Notes the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
