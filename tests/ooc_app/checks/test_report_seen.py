import json

from PIL import ImageOps

from db.cases import NewCase, NewImage, add_cases
from db.engine import write_session
from db.vocabulary import Answer, Verdict
from ooc_app.auth import Person, now
from ooc_app.desk import Desk
from ooc_app.intake.images import admit
from ooc_app.provenance.report import Claims, as_json, from_json, inspect
from ooc_app.provenance.seen import known_pictures
from tests.ooc_app.checks.kept import browser, keep_check, picture_with_position, settle, token_of
from tests.ooc_app.provenance.conftest import Scene, Sign, jpeg


def test_a_stranger_sees_what_the_picture_carries_but_no_position_and_nothing_others_asked(
    desk: Desk, maria: Person, ben: Person, scene: Scene
) -> None:
    def stored(quality: int) -> NewImage:
        image = admit(jpeg(scene(1), quality=quality), desk.images_dir)
        return NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)

    with write_session(desk.sessions) as session:
        open_case = NewCase("a", "Fans wait in 2019.", stored(40), date="3 May 2019")
        add_cases(session, "archive", [open_case], now=now())
    keep_check(desk, ben, jpeg(scene(1), quality=50), 2, caption="What Ben wondered.")
    sent = keep_check(desk, ben, jpeg(scene(1), quality=60), 3, caption="What Ben sent.")
    settle(desk, sent, ben, Answer.IN_CONTEXT)
    token = keep_check(desk, maria, picture_with_position(scene(1)), with_provenance=True)
    report = f"/?check={token}"
    strange, own = browser(desk).get(report).text, browser(desk, maria).get(report).text
    for page in (strange, own):
        assert "Fans wait in 2019." in page
        assert "Camera &lt;b&gt;" in page
        assert "carries a GPS position, which a report never shows" in page
        assert "48.85" not in page
    assert "What Ben wondered." in own
    assert "What Ben sent." in own
    assert "desk/thumbs/" in own
    plain = browser(desk).get(f"/desk/reports/{token}.json").text
    for text in (strange, plain):
        assert "Ben" not in text
        assert "48.85" not in text
    assert "desk/thumbs/" not in strange


def test_what_a_picture_carries_is_the_same_after_it_was_kept(
    desk: Desk, ben: Person, scene: Scene, sign: Sign
) -> None:
    keep_check(desk, ben, jpeg(ImageOps.mirror(scene(1)), quality=50))
    image = admit(sign(picture_with_position(scene(1))), desk.images_dir)
    claims = Claims("A flood.", "12 March 2001", "Halden", "https://post.example/1.jpg")
    found = inspect(image, desk.images_dir, desk, claims, known=known_pictures(desk))
    plain = json.loads(json.dumps(as_json(found, with_gps=False)))
    again = from_json(plain)
    told = json.loads(json.dumps(as_json(again, with_gps=False)))
    assert told == {**plain, "metadata": {**plain["metadata"], "has_gps": False}}
    assert again.seen
    assert again.seen[0].words == "the same picture, mirrored"


def test_nothing_seen_before_is_not_said_of_pictures_a_stranger_may_not_know_of(
    desk: Desk, maria: Person, ben: Person, scene: Scene
) -> None:
    keep_check(desk, ben, jpeg(scene(1), quality=50), 2)
    token = keep_check(desk, maria, jpeg(scene(1)), with_provenance=True)
    strange = browser(desk).get(f"/?check={token}").text
    assert "None of the desk&#x27;s cases has a picture like this one." in strange
    assert "the same picture" not in strange
    assert "the same picture" in browser(desk, maria).get(f"/?check={token}").text


def test_a_known_case_that_waits_by_now_shows_no_verdict_of_then(
    desk: Desk, maria: Person, scene: Scene
) -> None:
    image = admit(jpeg(scene(1), quality=40), desk.images_dir)
    stored = NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)
    with write_session(desk.sessions) as session:
        known = NewCase("a", "Fans wait.", stored, gold=Verdict.IN_CONTEXT)
        add_cases(session, "archive", [known], now=now())
    token = keep_check(desk, maria, jpeg(scene(1)), with_provenance=True)
    (seen,) = browser(desk).get(f"/desk/reports/{token}.json").json()["found"]["provenance"]["seen"]
    assert (seen["uses"][0]["verdict"], seen["uses"][0]["by"]) == ("in_context", "the data set archive")
    keep_check(desk, maria, jpeg(scene(1), quality=40), 2, caption="Fans wait.")
    settle(desk, token_of(2), maria)
    (seen,) = browser(desk).get(f"/desk/reports/{token}.json").json()["found"]["provenance"]["seen"]
    assert (seen["uses"][0]["verdict"], seen["uses"][0]["by"]) == (None, "waits for a ruling")
