from pathlib import Path

import pytest

from db.teaching import TeachingError
from ooc_app.desk import Desk, SettingsError, default_settings, read_settings
from ooc_app.teach_board import Deed, doing
from ooc_app.teacher_settings import (
    add_teacher,
    change_teacher,
    configs_in,
    presets,
    remove_teacher,
    teacher_config,
    teacher_configs,
)
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
        (
            VLLM + 'base_url = "https://me:sk-123@a.org/v1"',
            "[teachers.vllm] in settings.toml: The address, base_url, ends",
        ),
        (
            VLLM + 'base_url = "http://a.org/v1"',
            "[teachers.vllm] in settings.toml: The address, base_url, must begin with https",
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


ABOVE = "# the desk's\n"
TWO = (
    ABOVE
    + '[teachers.vllm]\nkind = "endpoint"  # served\nmodel = "q"\nprice_in = 1  # a guess\n\n# the other\n'
    + '[teachers."a b"]\nkind = "endpoint"\nmodel = "r"\n# the end\n'
)


def _with(desk: Desk, teachers: str) -> str:
    """Put teachers into the settings, and return all of them."""
    text = default_settings() + "\n" + teachers
    _settings(desk).write_text(text)
    return text


def test_a_teacher_that_is_not_there_or_would_be_renamed_is_neither_changed_nor_removed(desk: Desk) -> None:
    before = _with(desk, TWO)
    with pytest.raises(SettingsError, match="no teacher 'gone' any more"):
        change_teacher(desk, "gone", TeacherConfig("gone", "endpoint", "q"))
    with pytest.raises(SettingsError, match="no teacher 'gone' any more"):
        remove_teacher(desk, "gone")
    with pytest.raises(SettingsError, match="stands under this name"):
        change_teacher(desk, "vllm", TeacherConfig("other", "endpoint", "q"))
    assert _settings(desk).read_text() == before


def test_a_teacher_something_is_done_with_is_neither_changed_nor_removed(desk: Desk) -> None:
    before = _with(desk, TWO)
    with doing(desk, "vllm", Deed.RUN, dict):
        with pytest.raises(TeachingError, match="being done with vllm already"):
            change_teacher(desk, "vllm", TeacherConfig("vllm", "endpoint", "s"))
        with pytest.raises(TeachingError, match="being done with vllm already"):
            remove_teacher(desk, "vllm")
        remove_teacher(desk, "a b")
    assert _settings(desk).read_text() == before.replace(
        '[teachers."a b"]\nkind = "endpoint"\nmodel = "r"\n', ""
    )


@pytest.mark.parametrize(
    "teachers",
    [
        'teachers = { vllm = { kind = "endpoint", model = "q" } }\n',
        '[teachers]\nvllm.kind = "endpoint"\nvllm.model = "q"\n',
        '[teachers.vllm]\nkind = "endpoint"\nmodel = """\n[teachers.vllm]\n"""\n',
    ],
)
def test_a_teacher_written_in_another_way_is_removed_by_hand(desk: Desk, teachers: str) -> None:
    before = _with(desk, teachers)
    with pytest.raises(SettingsError, match=r"by hand|in one line"):
        remove_teacher(desk, "vllm")
    assert _settings(desk).read_text() == before


def test_a_change_keeps_what_stays_and_a_persons_comments_where_they_are(desk: Desk) -> None:
    before = _with(desk, TWO)
    config = TeacherConfig("vllm", "endpoint", 's "2"', "http://localhost:1/v1", price_in=2.5)
    change_teacher(desk, "vllm", config)
    assert teacher_config(desk, "vllm") == config
    assert teacher_config(desk, "a b").model == "r"
    written = _settings(desk).read_text()
    assert written == before.replace('model = "q"', "model = 's \"2\"'").replace(
        "price_in = 1  # a guess\n", 'price_in = 2.5  # a guess\nbase_url = "http://localhost:1/v1"\n'
    ).replace("model = 's \"2\"'", 'model = "s \\"2\\""')
    change_teacher(desk, "vllm", TeacherConfig("vllm", "endpoint", "q", price_in=1))
    assert _settings(desk).read_text() == before


def test_a_removed_teacher_takes_its_lines_and_nobodys_comments(desk: Desk) -> None:
    before = _with(desk, TWO)
    remove_teacher(desk, "vllm")
    assert list(teacher_configs(desk)) == ["a b"]
    assert _settings(desk).read_text() == before.replace(
        '[teachers.vllm]\nkind = "endpoint"  # served\nmodel = "q"\nprice_in = 1  # a guess\n', ""
    )
    remove_teacher(desk, "a b")
    assert teacher_configs(desk) == {}
    assert _settings(desk).read_text().endswith("# the desk's\n\n# the other\n# the end\n")
    add_teacher(desk, TeacherConfig("a b", "endpoint", "q"))
    assert list(teacher_configs(desk)) == ["a b"]
