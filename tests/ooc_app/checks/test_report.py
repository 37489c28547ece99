from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from db.cases import NewCase, NewImage, add_cases
from db.engine import write_session
from db.models import Case, Check
from db.rulings import NewRuling, rule
from db.vocabulary import Answer, Split
from ooc_app.auth import Person, now
from ooc_app.checks.report_page import GONE
from ooc_app.desk import Desk
from ooc_app.intake.images import admit, shown_copy, thumbnail
from tests.ooc_app.checks.fixed import HOSTILE
from tests.ooc_app.checks.kept import CAPTION, browser, keep_check, picture_files
from tests.ooc_app.conftest import drawn_picture

# ---- who reads, and who does not ----


def test_what_no_report_is_known_by_reads_like_one_that_is_gone(desk: Desk, maria: Person) -> None:
    gone = keep_check(desk, maria, drawn_picture(), expires_at=now() - timedelta(seconds=1))
    reader = browser(desk)
    for token in (gone, "", "x", "guessed" * 3 + "x", "../../../etc/passwd", "%00", "a" * 10_000):
        answer = reader.get("/", params={"check": token})
        assert (answer.status_code, answer.text) == (404, reader.get(f"/?check={gone}").text)
        assert GONE in answer.text
        assert answer.headers["x-robots-tag"].startswith("noindex")
    for path in ("/picture", ".json", ".jsonld"):
        assert reader.get(f"/desk/reports/{gone}{path}").json() == {"detail": GONE}


def test_the_desks_own_address_without_a_report_is_left_to_the_desk(desk: Desk, maria: Person) -> None:
    for path in ("/", "/?case=3", "/?checked=1"):
        assert browser(desk).get(path).json() == {"detail": "Not Found"}


def test_a_name_the_desk_was_not_told_of_shows_nobody_a_report(desk: Desk, maria: Person) -> None:
    token = keep_check(desk, maria, drawn_picture())
    evil = {"host": "evil.example"}
    for path in (f"/?check={token}", f"/desk/reports/{token}/picture", f"/desk/reports/{token}.json"):
        assert browser(desk).get(path, headers=evil).status_code == 403


def test_whoever_has_the_link_reads_the_report_and_may_change_nothing(desk: Desk, maria: Person) -> None:
    token = keep_check(desk, maria, drawn_picture(), claimed_place="Halden", url="https://post.example/1.jpg")
    answer = browser(desk).get(f"/?check={token}")
    assert answer.status_code == 200
    for said in (CAPTION, "out of context", "0.86", "Very probably", "The tower.", "not proof", "Halden"):
        assert said in answer.text
    assert "<form" not in answer.text
    assert "maria" not in answer.text
    assert f'href="login?then=%3Fcheck%3D{token}"' in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    picture = browser(desk).get(f"/desk/reports/{token}/picture")
    assert (picture.content[:2], picture.headers["cache-control"]) == (b"\xff\xd8", "no-store")
    deeds = [("expire", {"term": "7"}), ("send", {}), ("delete", {})]
    for deed, form in deeds:
        refused = browser(desk).post(f"/desk/reports/{token}/{deed}", data=form)
        assert (refused.status_code, refused.headers["location"]) == (
            303,
            f"../../../login?then=%3Fcheck%3D{token}",
        )
    with desk.sessions() as session:
        assert session.scalars(sa.select(Check.token)).all() == [token]


def test_hostile_texts_stay_texts(desk: Desk, maria: Person) -> None:
    hostile = f"</title></style><script>alert(1)</script>{HOSTILE}"
    said: dict[str, Any] = dict.fromkeys(
        ("caption", "rationale", "student", "claimed_date", "claimed_place"), hostile
    )
    found = {"words": hostile, "warning": hostile, "domain": hostile, "snapshot": hostile, "notes": [hostile]}
    token = keep_check(desk, maria, drawn_picture(), found=found, **said, url="javascript:alert(1)")
    page = browser(desk, maria).get(f"/?check={token}").text
    assert "<script" not in page
    assert "<img src=x" not in page
    assert 'href="javascript' not in page
    assert page.count("</style>") == page.count("</title>") == 1


def test_a_report_of_another_version_leaves_out_what_it_does_not_know(desk: Desk, maria: Person) -> None:
    for number, seen in enumerate((None, [], [{"uses": [{"caption": "A."}]}], [1])):
        odd: dict[str, Any] = {"provenance": {"seen": seen}, "reliance": {"new": 1}, "notes": None}
        token = keep_check(desk, maria, drawn_picture(), number, found=odd)
        answer = browser(desk).get(f"/?check={token}")
        assert answer.status_code == 200
        assert "was not looked at" in answer.text


# ---- what the owner does ----


@pytest.mark.parametrize("deed", ["expire", "send", "delete"])
def test_a_colleague_and_another_sites_page_change_nothing(
    desk: Desk, maria: Person, ben: Person, deed: str
) -> None:
    token = keep_check(desk, maria, drawn_picture())
    path, form = f"/desk/reports/{token}/{deed}", {"term": "7"}
    assert "<form" not in browser(desk, ben).get(f"/?check={token}").text
    refused = browser(desk, ben).post(path, data=form)
    assert refused.status_code == 403
    assert "somebody else" in refused.text
    for header in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert browser(desk, maria).post(path, data=form, headers=header).status_code == 403
    with desk.sessions() as session:
        (check,) = session.scalars(sa.select(Check))
        assert (check.expires_at, check.case_id) == (None, None)


def test_a_report_is_kept_for_no_other_time_than_those_offered(desk: Desk, maria: Person) -> None:
    token = keep_check(desk, maria, drawn_picture())
    for term in ("", "8", "-1", "never ", "7\0"):
        answer = browser(desk, maria).post(f"/desk/reports/{token}/expire", data={"term": term})
        assert answer.status_code == 422
        assert "choose one" in answer.text


def test_a_form_that_is_too_long_is_not_read(desk: Desk, maria: Person) -> None:
    token = keep_check(desk, maria, drawn_picture())
    path = f"/desk/reports/{token}/expire"
    assert browser(desk, maria).post(path, data={"term": "7" * 2_000}).status_code == 413


def test_its_owner_lets_a_report_end_and_an_editor_keeps_it_for_good(
    desk: Desk, maria: Person, vera: Person
) -> None:
    token = keep_check(desk, maria, drawn_picture())
    path = f"/desk/reports/{token}/expire"
    answer = browser(desk, maria).post(path, data={"term": "30"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"../../../?check={token}")
    with desk.sessions() as session:
        until = session.scalars(sa.select(Check.expires_at)).one()
    assert until is not None
    assert timedelta(days=29.9) < until - now() < timedelta(days=30)
    assert "It ends on" in browser(desk, maria).get(f"/?check={token}").text
    assert browser(desk, vera).post(path, data={"term": "never"}).status_code == 303
    page = browser(desk, vera).get(f"/?check={token}")
    assert "It is kept until it is deleted." in page.text
    assert page.headers["referrer-policy"] == "same-origin"  # else a form of it is posted as a foreign one


def test_a_deleted_report_is_gone_with_its_picture(desk: Desk, maria: Person) -> None:
    picture = drawn_picture()
    token = keep_check(desk, maria, picture)
    files = picture_files(desk, picture)
    sha256 = admit(picture, desk.images_dir).sha256
    shown_copy(sha256, desk.images_dir)
    thumbnail(sha256, desk.images_dir)
    assert all(path.exists() for path in files)
    owner = browser(desk, maria)
    answer = owner.post(f"/desk/reports/{token}/delete")
    assert (answer.status_code, answer.headers["location"]) == (303, "../deleted")
    assert "is deleted" in owner.get("/desk/reports/deleted").text
    assert not any(path.exists() for path in files)
    assert browser(desk).get(f"/?check={token}").status_code == 404
    assert owner.post(f"/desk/reports/{token}/delete").status_code == 404


def test_a_picture_that_something_else_has_outlives_the_report(desk: Desk, maria: Person) -> None:
    picture = drawn_picture()
    token = keep_check(desk, maria, picture)
    other = keep_check(desk, maria, picture, 2)
    browser(desk, maria).post(f"/desk/reports/{token}/delete")
    assert picture_files(desk, picture)[0].exists()
    assert browser(desk).get(f"/desk/reports/{other}/picture").status_code == 200


def test_a_check_that_cannot_be_sent_says_why(desk: Desk, maria: Person) -> None:
    token = keep_check(desk, maria, drawn_picture())
    with desk.sessions() as session:
        sha256 = session.scalars(sa.select(Check.image_sha256)).one()
    with write_session(desk.sessions) as session:
        held_out = NewCase("t", "Another.", NewImage(sha256, "PNG", 64, 48, 100))
        add_cases(session, "test", [replace(held_out, split=Split.TEST)], now=now())
    refused = browser(desk, maria).post(f"/desk/reports/{token}/send")
    assert refused.status_code == 409
    assert "measured by" in refused.text


@pytest.mark.parametrize(
    ("says", "told", "words"),
    [
        (Answer.IN_CONTEXT, "Settled by 1 person of this desk", "settled: in context"),
        (Answer.UNSURE, "People of this desk cannot tell", "people cannot tell"),
    ],
)
def test_a_report_says_what_people_ruled_since_beside_the_students_answer(
    desk: Desk, maria: Person, ben: Person, says: Answer, told: str, words: str
) -> None:
    token = keep_check(desk, maria, drawn_picture())
    reader = browser(desk)
    assert "it was not sent to the desk" in reader.get(f"/?check={token}").text
    assert browser(desk, maria).post(f"/desk/reports/{token}/send").status_code == 303
    page = reader.get(f"/?check={token}").text
    assert "it waits for a ruling" in page
    assert "Send to the desk" not in browser(desk, maria).get(f"/?check={token}").text
    with desk.sessions() as session:
        case_id = session.scalars(sa.select(Case.id)).one()
    with write_session(desk.sessions) as session:
        rule(session, ben.annotator_id, NewRuling("one", case_id, says), now())
    page = reader.get(f"/?check={token}").text
    assert told in page
    assert "the student had answered" in page
    assert "nobody at this desk has ruled" not in page
    assert "Ben" not in page
    standing = reader.get(f"/desk/reports/{token}.json").json()["standing"]
    assert (standing["words"], standing["people"]) == (words, 1)
