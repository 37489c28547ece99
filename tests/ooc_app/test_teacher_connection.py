import socket
from pathlib import Path

import pytest

from ooc_app.desk import Desk
from ooc_app.teacher_connection import connection
from ooc_app.teacher_settings import at_hand
from tests.ooc_app.teacher_server import KEY, MODEL, serving
from training.teachers import TeacherConfig


def test_a_server_is_reached_with_its_key_and_what_is_wrong_is_one_sentence() -> None:
    with serving() as server:
        asked = TeacherConfig("t", "endpoint", MODEL, server.base_url, key_env="DESK_KEY")
        assert connection(asked, {"DESK_KEY": KEY}).works
        for config, environment, said in (
            (asked, {}, "DESK_KEY is not set"),
            (asked, {"DESK_KEY": "wrong"}, "does not accept the key in DESK_KEY (status 401)"),
            (asked, {"DESK_KEY": "two words"}, "holds something that is no key"),
            (
                TeacherConfig("t", "endpoint", "gone", server.base_url),
                {},
                "has no model gone: it has other-1, ruled-1.",
            ),
        ):
            found = connection(config, environment)
            assert (found.works, said in found.says) == (False, True), found.says
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert "Nothing listens at" in connection(TeacherConfig("t", "endpoint", MODEL, url), {}).says


def test_a_server_whose_list_does_not_tell_is_asked_for_one_word() -> None:
    with serving() as server:
        server.models["unlisted"] = "not listed"
        unlisted = connection(TeacherConfig("t", "endpoint", "unlisted", server.base_url), {})
        assert unlisted.works, unlisted.says
        assert "though its list of models does not have it" in unlisted.says
        assert set(unlisted.models) == {MODEL, "other-1"}
        for server.list_status in (404, 500):
            known = connection(TeacherConfig("t", "endpoint", MODEL, server.base_url), {})
            assert known.works, known.says
            gone = connection(TeacherConfig("t", "endpoint", "gone", server.base_url), {})
            assert (gone.works, f"status {server.list_status}" in gone.says) == (False, True), gone.says
        assert not server.asked  # about no case


def test_a_local_model_and_a_replay_are_looked_for_without_loading_them(tmp_path: Path) -> None:
    for config, works in (
        (TeacherConfig("t", "local", str(tmp_path)), False),
        (TeacherConfig("t", "local", str(tmp_path / "gone")), False),
        (TeacherConfig("t", "local", "HuggingFaceTB/SmolVLM-500M-Instruct"), True),
        (TeacherConfig("t", "replay", "m", path=str(tmp_path / "gone.jsonl")), False),
    ):
        assert connection(config, {}).works is works
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "said.jsonl").write_text('{"id": "a", "raw": "{}"}\n')
    assert connection(TeacherConfig("t", "local", str(tmp_path)), {}).works
    assert connection(TeacherConfig("t", "replay", "m", path=str(tmp_path / "said.jsonl")), {}).works


def test_a_shipped_model_and_a_replay_in_the_data_folder_are_found_from_anywhere(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.data_dir / "said.jsonl").write_text('{"id": "a", "raw": "{}"}\n')
    monkeypatch.chdir(tmp_path)
    for config in (
        TeacherConfig("t", "local", "assets/student"),
        TeacherConfig("t", "replay", "m", path="said.jsonl"),
    ):
        found = connection(at_hand(desk, config), {})
        assert found.works, found.says
        assert "hub" not in found.says
