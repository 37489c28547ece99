import io
import json
import re
from typing import Any

import pytest
from PIL import Image
from rdflib import Graph, Namespace
from rdflib.namespace import RDF

from db.vocabulary import Answer
from ooc_app.auth import Person
from ooc_app.desk import Desk
from tests.ooc_app.checks.kept import browser, keep_check, picture_with_position, settle
from tests.ooc_app.conftest import drawn_picture
from tests.ooc_app.provenance.conftest import Scene

SCHEMA = Namespace("https://schema.org/")


def review_of(desk: Desk, token: str) -> dict[str, Any]:
    answer = browser(desk).get(f"/desk/reports/{token}.jsonld")
    assert answer.headers["content-type"] == "application/ld+json"
    assert answer.headers["content-disposition"] == f'attachment; filename="check-{token}.jsonld"'
    read: dict[str, Any] = json.loads(answer.content)
    return read


def test_a_review_of_a_students_answer_says_that_a_model_gave_it(desk: Desk, maria: Person) -> None:
    token = keep_check(desk, maria, drawn_picture(), url="https://post.example/1.jpg")
    review = review_of(desk, token)
    assert review["url"] == f"http://desk.example/?check={token}"
    assert review["reviewRating"]["ratingValue"] == 1
    assert review["reviewRating"]["alternateName"] == "Out of context, says a model; nobody has ruled"
    assert "A model, the student one, answered" in review["reviewBody"]
    assert [one["@type"] for one in review["author"]] == ["Organization", "SoftwareApplication"]
    assert review["associatedMediaReview"]["mediaAuthenticityCategory"]["@id"].endswith("izedContent")


@pytest.mark.parametrize(("says", "rating"), [(Answer.IN_CONTEXT, 5), (Answer.UNSURE, None)])
def test_a_review_follows_what_people_ruled(
    desk: Desk, maria: Person, says: Answer, rating: int | None
) -> None:
    token = keep_check(desk, maria, drawn_picture())
    settle(desk, token, maria, says)
    review = review_of(desk, token)
    assert review.get("reviewRating", {}).get("ratingValue") == rating
    assert review["author"] == {"@type": "Organization", "name": "OOC Desk"}
    assert review["reviewBody"].startswith("People at OOC Desk")
    assert ("associatedMediaReview" in review) == (rating is not None)


def test_an_answer_that_is_none_is_not_rated(desk: Desk, maria: Person) -> None:
    token = keep_check(desk, maria, drawn_picture(), cannot_tell=True, probability=0.56)
    review = review_of(desk, token)
    assert "reviewRating" not in review
    assert "associatedMediaReview" not in review
    assert "cannot tell" in review["reviewBody"]
    page = browser(desk).get(f"/?check={token}").text
    assert 'class="chip unsure large"' in page
    assert "chip out_of_context" not in page


def test_json_holds_what_the_report_shows(desk: Desk, maria: Person) -> None:
    token = keep_check(desk, maria, drawn_picture(), claimed_date="2021-03-12")
    plain = browser(desk).get(f"/desk/reports/{token}.json").json()
    assert (plain["report"], plain["verdict"], plain["probability"]) == (
        f"?check={token}",
        "out_of_context",
        0.86,
    )
    assert plain["claimed_date"] == "2021-03-12"
    assert plain["standing"] is None
    assert len(plain["picture"]["sha256"]) == 64
    assert not re.search("is_of_desk|may_change|annotator", json.dumps(plain))


def test_a_picture_that_is_shown_carries_no_metadata(desk: Desk, maria: Person, scene: Scene) -> None:
    token = keep_check(desk, maria, picture_with_position(scene(1)))
    shown = browser(desk).get(f"/desk/reports/{token}/picture").content
    with Image.open(io.BytesIO(shown)) as image:
        assert not image.getexif()


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")  # rdflib's own reader of JSON-LD
def test_a_review_is_linked_data_in_schema_orgs_terms(desk: Desk, maria: Person) -> None:
    token = keep_check(desk, maria, drawn_picture(), caption="</script> “A flood.”", claimed_place="Halden")
    graph = Graph().parse(data=json.dumps(review_of(desk, token)), format="json-ld")
    (review,) = graph.subjects(RDF.type, SCHEMA.ClaimReview)
    assert str(graph.value(review, SCHEMA.claimReviewed)) == "</script> “A flood.”"
    assert len(set(graph.objects(review, SCHEMA.author))) == 2
    media = graph.value(review, SCHEMA.associatedMediaReview)
    assert graph.value(media, SCHEMA.mediaAuthenticityCategory) == SCHEMA.DecontextualizedContent
