import socket
from pathlib import Path

import pytest

from ooc_app import teacher_settings
from ooc_app.desk import Desk, SettingsError, default_settings, read_settings
from ooc_app.teacher_settings import (
    add_teacher,
    at_hand,
    configs_in,
    connection,
    presets,
    teacher_config,
    teacher_configs,
)
from tests.ooc_app.teacher_server import KEY, MODEL, serving
from training.teachers import TeacherConfig

VLLM = '[teachers.vllm]\nkind = "endpoint"\nmodel = "q"\n'


def _settings(desk: Desk) -> Path:
    return desk.data_dir / "settings.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("teachers = 3", "`teachers` in settings.toml is no table"),
        ("[teachers]\nvllm = 3", "[teachers.vllm] in settings.toml is no table"),
        (VLLM + "modle = 1", "[teachers.vllm] in settings.toml has the unknown key `modle`"),
        (VLLM + 'api_key = "sk-123"', "has a key itself under `api_key`: take it out"),
        (VLLM + 'key_env = "sk-123"', "[teachers.vllm] in settings.toml: key_env is the name of"),
        (VLLM + 'base_url = "https://me:sk-123@a.org/v1"', "[teachers.vllm] in settings.toml: base_url ends"),
        (
            VLLM + 'base_url = "http://a.org/v1"',
            "[teachers.vllm] in settings.toml: base_url must begin with https",
        ),
        (
            VLLM + 'concurrency = "8"',
            "`concurrency` of [teachers.vllm] in settings.toml is a text: give a whole",
        ),
        (VLLM + "concurrency = true", "`concurrency` of [teachers.vllm] in settings.toml is true or false"),
        (
            VLLM + "concurrency = 1.5",
            "`concurrency` of [teachers.vllm] in settings.toml is a number: give a whole",
        ),
        (VLLM + "concurrency = 0", "[teachers.vllm] in settings.toml: concurrency 0 is not between"),
        (VLLM + "text_only = 1", "`text_only` of [teachers.vllm] in settings.toml is a number: give true or"),
        (
            '[teachers."GPT 4\\u0007"]\nkind = "endpoint"',
            '[teachers."GPT 4?"] in settings.toml lacks `model`',
        ),
        ('[teachers.a]\nkind = "oracle"\nmodel = "m"', "[teachers.a] in settings.toml: There is no kind"),
        ("[teachers.a", "settings.toml is not valid TOML"),
    ],
)
def test_a_wrong_teacher_is_named_with_its_table_and_key_and_no_secret(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        configs_in(text)
    assert said in str(refusal.value)
    assert "sk-123" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_teacher_that_is_not_there_is_named_with_those_that_are(desk: Desk) -> None:
    with pytest.raises(SettingsError, match=r"no teacher 'x': it has no \[teachers.NAME\] yet"):
        teacher_config(desk, "x")
    add_teacher(desk, TeacherConfig("vllm", "endpoint", "q"))
    with pytest.raises(SettingsError, match="no teacher 'x': it has vllm"):
        teacher_config(desk, "x")


def test_a_wrong_teacher_keeps_no_desk_from_opening_and_another_wrong_key_still_does(desk: Desk) -> None:
    path = _settings(desk)
    path.write_text(default_settings() + VLLM + "modle = 1\n")
    assert read_settings(path, {}).annotator == "editor"
    path.write_text("teacher = 1\n")
    with pytest.raises(SettingsError, match=r"unknown key `teacher`.*\[teachers.NAME\]"):
        read_settings(path, {})


def test_nothing_is_added_to_settings_that_are_wrong_or_have_the_name(desk: Desk) -> None:
    add_teacher(desk, TeacherConfig("vllm", "endpoint", "q"))
    before = _settings(desk).read_text()
    with pytest.raises(SettingsError, match="already"):
        add_teacher(desk, TeacherConfig("vllm", "endpoint", "other"))
    assert _settings(desk).read_text() == before
    wrong = before + "modle = 1\n"
    _settings(desk).write_text(wrong)
    with pytest.raises(SettingsError, match="modle"):
        add_teacher(desk, TeacherConfig("second", "endpoint", "q"))
    assert _settings(desk).read_text() == wrong


def test_teachers_are_added_between_a_persons_comments_and_read_anew(desk: Desk) -> None:
    path = _settings(desk)
    path.write_text(default_settings() + "\n# ours\n" + VLLM + "price_in = 1  # a guess\n# the end\n")
    hostile = 'a "b" \\ ]\u05d0'
    for name in ("OpenAI", hostile, "with.dot"):
        add_teacher(
            desk,
            TeacherConfig(
                name, "endpoint", "gpt", key_env="OPENAI_API_KEY", requests_per_minute=60.0, text_only=True
            ),
        )
    found = teacher_configs(desk)
    assert list(found) == ["vllm", "OpenAI", hostile, "with.dot"]
    assert (found["vllm"].price_in, found["OpenAI"].requests_per_minute) == (1, 60.0)
    assert found[hostile].text_only
    written = path.read_text()
    assert written.startswith(default_settings())
    for comment in ("# ours\n", "price_in = 1  # a guess\n", "# the end\n"):
        assert comment in written
    assert sorted(one.name for one in desk.data_dir.iterdir() if "settings" in one.name) == [
        ".settings.lock",
        "settings.toml",
    ]


def test_every_preset_can_be_added_as_it_is_and_says_where_its_address_is_from(desk: Desk) -> None:
    for name, preset in presets().items():
        add_teacher(desk, preset.config)
        assert teacher_config(desk, name) == preset.config
        assert preset.source.startswith("https://")
        assert preset.note
    assert list(presets()) == [
        "vLLM", "Ollama", "llama.cpp", "SGLang", "OpenAI", "OpenRouter", "On this machine",
    ]  # fmt: skip


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
            assert teacher_settings.test_connection(config, environment) == found.says
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert "Nothing listens at" in connection(TeacherConfig("t", "endpoint", MODEL, url), {}).says


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
