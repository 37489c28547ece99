"""Teachers themselves: what goes out to them, what comes back, and what is raised."""

import asyncio
import base64
import gc
import io
import json
import logging
import random
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.training.fault_server import (
    Answer,
    FaultServer,
    Sent,
    fails,
    fault_server,
    one_after_another,
    opines,
    says,
)
from training.records import CaseInput
from training.teacher_endpoint import ANSWER_BYTES, data_url, retry_after
from training.teacher_local import LocalTeacher
from training.teacher_question import SCHEMA, teacher_question
from training.teachers import (
    Asked,
    BusyError,
    CaseFailedError,
    Reply,
    Teacher,
    TeacherConfig,
    TeacherError,
    Turn,
    open_teacher,
)

KEY = "sk-of-a-test-0123456789"
ENVIRONMENT = {"TEST_KEY": KEY}


def configured(**settings: Any) -> TeacherConfig:
    """Give a teacher's settings."""
    defaults: dict[str, Any] = {"name": "Test", "kind": "endpoint", "model": "any", "timeout_s": 5.0}
    return TeacherConfig(**{**defaults, **settings})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Give a picture of 1,200 by 600 pixels, as the desk shows it."""
    path = tmp_path / "picture.jpg"
    Image.new("RGB", (1200, 600), "teal").save(path, "JPEG")
    return path


def replies(
    answer: Answer, picture: Path, turns: Sequence[Turn] = (Turn("user", "What?"),), **settings: Any
) -> tuple[list[Reply | BaseException], FaultServer]:
    """Ask an endpoint as often as `times` says, one question after another."""
    times = settings.pop("times", 1)

    async def ask() -> tuple[list[Reply | BaseException], FaultServer]:
        async with fault_server(answer) as faults:
            config = configured(base_url=faults.url, key_env="TEST_KEY", **settings)
            teacher = open_teacher(config, ENVIRONMENT)
            asked = Asked(CaseInput("1", "", "A flood."), picture)
            try:
                said = [await _caught(teacher.ask(asked, turns)) for _ in range(times)]
            finally:
                await teacher.close()
            return said, faults

    return asyncio.run(ask())


async def _caught(asking: Any) -> Reply | BaseException:
    try:
        reply: Reply = await asking
    except (BusyError, CaseFailedError, TeacherError) as error:
        return error
    return reply


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"kind": "oracle"}, "endpoint, local, replay"),
        ({"model": ""}, "model"),
        ({"kind": "replay"}, "path"),
        ({"kind": "local", "temperature": 0.5}, "temperature"),
        ({"base_url": "http://example.org/v1"}, "https"),
        ({"base_url": "http://127.0.0.1.example.org/v1"}, "https"),
        ({"base_url": "ftp://127.0.0.1/v1"}, "https"),
        ({"base_url": "https://"}, "is none: give one"),
        ({"base_url": "https://host:port/v1"}, "is none: give one"),
        ({"base_url": "https://a b/v1"}, "is none: give one"),
        ({"base_url": f"https://{KEY}@example.org/v1"}, "key_env"),
        ({"base_url": f"https://example.org/v1?key={KEY}"}, "key_env"),
        ({"key_env": KEY}, "never the key"),
        ({"key_env": "key"}, "never the key"),
        ({"image_edge": 10}, "image_edge 10 is not between 64 and 4096"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": float("nan")}, "temperature"),
        ({"concurrency": 0}, "concurrency"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"price_in": -1}, "price_in"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TeacherError, match=said) as refused:
        configured(**settings)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        None,
        "https://example.org/v1",
        "http://localhost:8000/v1",
        "http://127.8.0.1/v1",
        "http://[::1]:8000/v1",
    ],
)
def test_an_address_is_taken_that_is_safe_or_of_this_machine(address: str | None) -> None:
    assert configured(base_url=address).base_url == address


@pytest.mark.parametrize("environment", [{}, {"TEST_KEY": " "}, {"TEST_KEY": f"{KEY} and\nmore"}])
def test_a_key_that_is_missing_or_none_is_named_and_not_said(environment: dict[str, str]) -> None:
    with pytest.raises(TeacherError, match="TEST_KEY") as refused:
        open_teacher(configured(key_env="TEST_KEY"), environment)
    assert KEY not in str(refused.value)


def test_a_question_goes_out_as_one_message_with_the_picture_before_its_text(picture: Path) -> None:
    (reply,), faults = replies(lambda _: opines(), picture)
    assert isinstance(reply, Reply)
    assert (reply.model, reply.tokens_in, reply.tokens_out, reply.finish) == ("served", 1_000, 50, "stop")
    (got,) = faults.got
    (message,) = got.body["messages"]
    assert [part["type"] for part in message["content"]] == ["image_url", "text"]
    assert got.body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (got.body["max_tokens"], got.body["temperature"]) == (400, 0.0)
    assert got.headers["authorization"] == f"Bearer {KEY}"
    assert got.headers["accept-encoding"] == "identity"
    assert "openai-organization" not in got.headers


def test_a_picture_goes_out_shrunk_and_without_metadata(picture: Path, tmp_path: Path) -> None:
    marked = tmp_path / "marked.jpg"
    exif = Image.Exif()
    exif[0x010E] = "where the source lives"
    Image.open(picture).save(marked, "JPEG", exif=exif, comment=b"who took it", xmp=b"<x/>")
    for path, edge, size in (
        (picture, 300, (300, 150)),
        (picture, 4096, (1200, 600)),
        (marked, 4096, (1200, 600)),
    ):
        data = base64.b64decode(data_url(path, edge).partition(",")[2])
        with Image.open(io.BytesIO(data)) as sent:
            assert (sent.format, sent.size) == ("JPEG", size)
            assert sent.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert (data == path.read_bytes()) is (path == picture and edge == 4096)


def test_a_picture_that_cannot_be_read_fails_its_case_alone(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")
    for path in (broken, tmp_path / "nowhere.jpg"):
        (said,), faults = replies(lambda _: opines(), path)
        assert isinstance(said, CaseFailedError)
        assert said.reason == "picture cannot be read"
        assert faults.got == []


def test_a_teacher_of_text_alone_is_sent_no_picture(picture: Path) -> None:
    _, faults = replies(lambda _: opines(), picture, text_only=True)
    assert [part["type"] for part in faults.got[0].body["messages"][0]["content"]] == ["text"]


def test_a_conversation_goes_on_behind_the_first_message(picture: Path) -> None:
    turns = (Turn("user", "What?"), Turn("assistant", "Well."), Turn("user", "Again."))
    _, faults = replies(lambda _: opines(), picture, turns)
    assert [m["role"] for m in faults.got[0].body["messages"]] == ["user", "assistant", "user"]
    with pytest.raises(ValueError, match="system"):
        Turn("system", "Obey.")


def only(formats: Sequence[str], message: str, status: int = 400) -> Answer:
    """Take no other response formats than these."""

    def answer(got: Any) -> Sent:
        wanted = got.body.get("response_format", {"type": "none"})["type"]
        return opines() if wanted in formats else fails(status, message)

    return answer


@pytest.mark.parametrize("status", [400, 422])
def test_a_response_format_that_is_refused_is_left_out_from_then_on(picture: Path, status: int) -> None:
    refusing = only(["none"], "Unknown parameter: 'response_format'", status)
    said, faults = replies(refusing, picture, times=2)
    assert all(isinstance(reply, Reply) for reply in said)
    formats = [got.body.get("response_format", {}).get("type") for got in faults.got]
    assert formats == ["json_schema", "json_object", None, None]


def test_a_server_without_schemas_is_asked_for_json(picture: Path) -> None:
    said, faults = replies(only(["json_object"], "json_schema is not supported"), picture, times=2)
    assert all(isinstance(reply, Reply) for reply in said)
    assert [got.body["response_format"]["type"] for got in faults.got] == ["json_schema"] + [
        "json_object"
    ] * 2


def test_models_that_think_are_asked_in_their_own_terms(picture: Path) -> None:
    def answer(got: Any) -> Sent:
        if "max_tokens" in got.body:
            return fails(400, "'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
        if "temperature" in got.body:
            return fails(400, "'temperature' does not support 0.0 with this model.")
        return opines()

    said, faults = replies(answer, picture, times=2)
    assert all(isinstance(reply, Reply) for reply in said)
    assert faults.got[-1].body["max_completion_tokens"] == 400
    assert "response_format" in faults.got[-1].body
    assert faults.count == 4


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (fails(401, f"Incorrect key {KEY}."), "does not accept the key"),
        (fails(402), "paid"),
        (fails(403), "does not allow"),
        (fails(404, "The model `any` does not exist"), "knows no such model"),
        (fails(429, "You exceeded your quota", code="insufficient_quota"), "quota"),
        (fails(307, location="https://example.org/v1"), "another address"),
    ],
)
def test_what_no_other_case_would_change_ends_it_with_a_sentence(
    picture: Path, sent: Sent, said: str
) -> None:
    (error,), faults = replies(lambda _: sent, picture)
    assert isinstance(error, TeacherError)
    assert said in str(error)
    assert KEY not in str(error)
    assert faults.count == 1


@pytest.mark.parametrize(
    ("sent", "reason", "wait"),
    [
        (fails(429, retry_after="7"), "status 429", 7.0),
        (fails(408), "status 408", None),
        (fails(409), "status 409", None),
        (fails(500), "status 500", None),
        (fails(503, retry_after="0.5"), "status 503", 0.5),
        (Sent(200, b"<html>busy</html>"), "no completion", None),
        (Sent(200, b'{"error": {"message": "overloaded"}}'), "no completion", None),
        (Sent(200, b'{"choices": []}'), "no completion", None),
        (Sent(200, b"[" * 100_000), "no completion", None),
        (Sent(200, b'{"choices": [{"message": {"con', cut=10), "no connection", None),
        (Sent(hang_up=True), "no connection", None),
        (opines(wait=30), "time-out", None),
    ],
)
def test_what_may_pass_is_said_to_be_worth_another_try(
    picture: Path, sent: Sent, reason: str, wait: float | None
) -> None:
    (error,), faults = replies(lambda _: sent, picture, timeout_s=0.3 if sent.wait else 10)
    assert isinstance(error, BusyError)
    assert (error.reason, error.wait) == (reason, wait)
    assert faults.count == 1


def test_nobody_there_is_said_to_be_worth_another_try(picture: Path) -> None:
    async def ask() -> Reply | BaseException:
        async with fault_server(lambda _: opines()) as faults:
            url = faults.url
        teacher = open_teacher(configured(base_url=url), {})
        try:
            return await _caught(teacher.ask(Asked(CaseInput("1", "", ""), picture), [Turn("user", "What?")]))
        finally:
            await teacher.close()

    error = asyncio.run(ask())
    assert isinstance(error, BusyError)
    assert error.reason == "no connection"


def test_a_case_that_a_server_does_not_take_fails_alone(picture: Path) -> None:
    answers = one_after_another([fails(400, "Image too small"), opines()])
    (error, reply), _ = replies(answers, picture, times=2)
    assert isinstance(error, CaseFailedError)
    assert error.reason == "status 400"
    assert "Image too small" in str(error)
    assert isinstance(reply, Reply)


@pytest.mark.parametrize(
    ("sent", "finish"),
    [
        (says(None, refusal="I can't help with that."), "refusal"),
        (says("", finish="content_filter"), "content_filter"),
        (fails(400, "Filtered by policy", code="content_filter"), "content_filter"),
        (says(None, finish="length"), "length"),
    ],
)
def test_a_refusal_is_a_reply_that_says_so(picture: Path, sent: Sent, finish: str) -> None:
    (reply,), _ = replies(lambda _: sent, picture)
    assert isinstance(reply, Reply)
    assert reply.finish == finish


def test_a_text_in_parts_is_put_together_and_uncounted_tokens_stay_unknown(picture: Path) -> None:
    parts = [{"type": "text", "text": "Out"}, {"type": "other"}, "x", {"type": "text", "text": "side"}]
    choice = {"message": {"content": parts}}
    for usage in (None, {}, {"prompt_tokens": "many", "completion_tokens": 10**400}):
        body = json.dumps({"choices": [choice], "usage": usage}).encode()
        (reply,), _ = replies(lambda _, body=body: Sent(body=body), picture)  # type: ignore[misc]
        assert isinstance(reply, Reply)
        assert (reply.text, reply.model, reply.tokens_in, reply.tokens_out) == ("Outside", "any", None, None)


@pytest.mark.parametrize(
    "sent",
    [
        says("x" * 10 * ANSWER_BYTES),
        Sent(200, b"x" * 65_536, endless=True),
        Sent(500, b"x" * 65_536, endless=True),
        Sent(200, b"x", {"Content-Encoding": "gzip"}),
    ],
    ids=["10 MB", "endless", "endless error", "packed"],
)
def test_an_answer_without_end_is_broken_off_while_it_is_read(picture: Path, sent: Sent) -> None:
    (reply,), _ = replies(lambda _: sent, picture)
    assert reply == Reply(
        "", "any", seconds=reply.seconds if isinstance(reply, Reply) else 0, finish="too_long"
    )


def test_a_key_is_in_nothing_that_is_raised_logged_or_answered(
    picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        says(f"Your key is {KEY}."),
        fails(401, f"Incorrect API key provided: {KEY}"),
        fails(400, f"Bad {KEY}"),
        fails(500, KEY),
        Sent(hang_up=True),
    ]
    said, faults = replies(one_after_another(answers), picture, times=len(answers))
    assert faults.got[0].headers["authorization"].endswith(KEY)
    for one in said:
        assert KEY not in repr(one)
        if isinstance(one, BaseException):
            assert KEY not in "".join(traceback.format_exception(one))
            assert one.__context__ is None
    assert KEY not in caplog.text
    assert caplog.text != ""
    config = configured(key_env="TEST_KEY")
    teacher = open_teacher(config, ENVIRONMENT)
    assert KEY not in repr(config) + repr(teacher) + str(teacher)
    asyncio.run(teacher.close())
    gc.collect()


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT"}, 10.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 09:00:09 GMT", "date": "Wed, 21 Oct 2015 09:00:04 GMT"}, 5.0),
    ],
)
def test_a_server_says_in_seconds_or_by_date_how_long_to_wait(
    headers: dict[str, str], wait: float | None
) -> None:
    assert retry_after(headers, datetime(2015, 10, 21, 7, 28, tzinfo=UTC)) == wait


def test_a_replay_says_what_was_recorded_the_last_time(tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    lines = [
        {"id": "1", "raw": "first"},
        {"id": "2", "verdict": "unsure", "rationale": "D\u00e4mmerung."},
        {"id": "1", "raw": "last"},
    ]
    path.write_text("\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    teacher = open_teacher(configured(kind="replay", path=str(path)), {})
    said = [
        asyncio.run(_caught(teacher.ask(Asked(CaseInput(name, "", ""), None), [])))
        for name in ("1", "2", "3")
    ]
    asyncio.run(teacher.close())
    first, second, third = said
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert first.text == "last"
    assert json.loads(second.text)["rationale"] == "D\u00e4mmerung."
    assert isinstance(third, CaseFailedError)
    assert third.reason == "not recorded"


@pytest.mark.parametrize("text", ['{"id": "1"}\nno json', '{"verdict": "unsure"}', "[1]"])
def test_a_replay_of_something_else_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "said.jsonl"
    path.write_text(text)
    with pytest.raises(TeacherError, match=r"said\.jsonl, line"):
        open_teacher(configured(kind="replay", path=str(path)), {})
    with pytest.raises(TeacherError, match="cannot be read"):
        open_teacher(configured(kind="replay", path=str(tmp_path)), {})


def asked_about(folder: Path, count: int) -> list[Asked]:
    """Give cases with pictures of different colours."""
    rng = random.Random(0)
    found = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        Image.new("RGB", (96, 64), colour).save(path, "JPEG")
        found.append(Asked(CaseInput(str(number), "", f"Case {number}. A flood at the castle."), path))
    return found


def ask_at_once(
    config: TeacherConfig, cases: Sequence[Asked], opened: Teacher | None = None
) -> list[Reply | BaseException]:
    """Ask a teacher about all cases at the same time."""

    async def ask() -> list[Reply | BaseException]:
        teacher = opened or open_teacher(config, {})
        try:
            turns = [[Turn("user", teacher_question(asked.case))] for asked in cases]
            return await asyncio.gather(
                *(_caught(teacher.ask(*pair)) for pair in zip(cases, turns, strict=True))
            )
        finally:
            await teacher.close()

    return asyncio.run(ask())


def test_a_local_teacher_that_is_not_there_is_refused() -> None:
    with pytest.raises(TeacherError, match="no teacher at assets/nowhere"):
        open_teacher(configured(kind="local", model="assets/nowhere"), {})


def test_a_local_teacher_answers_in_batches_what_it_answers_alone(tiny_student: Path, tmp_path: Path) -> None:
    cases = asked_about(tmp_path, 5)
    batched = configured(kind="local", model=str(tiny_student), max_tokens=16, concurrency=3)
    alone = configured(kind="local", model=str(tiny_student), max_tokens=16, concurrency=1)
    texts = [
        [reply.text for reply in ask_at_once(config, cases) if isinstance(reply, Reply)]
        for config in (batched, alone)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 5


def test_a_local_teacher_fails_one_case_for_its_picture_and_answers_the_others(
    tiny_student: Path, tmp_path: Path
) -> None:
    cases = asked_about(tmp_path, 3)
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    config = configured(kind="local", model=str(tiny_student), max_tokens=16, concurrency=3)
    first, second, third = ask_at_once(config, cases)
    assert isinstance(second, CaseFailedError)
    for reply in (first, third):
        assert isinstance(reply, Reply)
        assert reply.tokens_in is not None
        assert reply.tokens_out is not None
        assert reply.finish in {"stop", "length"}
        assert 0 < reply.tokens_out <= 16 < reply.tokens_in


class Cramped(LocalTeacher):
    """A teacher whose memory holds two questions at once, and none that is about case 3."""

    def _generated(self, questions: Any, pictures: Any) -> Any:
        if len(questions) > 2 or any(question.asked.case.id == "3" for question in questions):
            raise torch.OutOfMemoryError
        return super()._generated(questions, pictures)


def test_a_local_teacher_whose_memory_ends_answers_in_halves(tiny_student: Path, tmp_path: Path) -> None:
    config = configured(kind="local", model=str(tiny_student), max_tokens=16, concurrency=5)
    cramped = ask_at_once(config, cases := asked_about(tmp_path, 5), Cramped(config))
    roomy = ask_at_once(config, cases)
    assert [said.text for said in cramped if isinstance(said, Reply)] == [
        said.text for number, said in enumerate(roomy) if number != 3 and isinstance(said, Reply)
    ]
    assert isinstance(cramped[3], CaseFailedError)
    assert cramped[3].reason == "out of memory"


def test_a_local_teacher_of_text_alone_needs_no_picture(tiny_student: Path) -> None:
    config = configured(kind="local", model=str(tiny_student), max_tokens=16, text_only=True)
    (reply,) = ask_at_once(config, [Asked(CaseInput("1", "", "A flood."), None)])
    assert isinstance(reply, Reply)
