import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from db.vocabulary import Role
from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.guidelines import (
    ChangedMeanwhileError,
    in_force,
    nodes,
    save,
    save_text,
    shown,
    version_in_force,
)
from ooc_app.language import LANGUAGES
from ooc_app.submissions import SubmissionError

SHA = "0123456789abcdef" * 4


def tags(tree: Any) -> set[str]:
    """Every tag in a tree of nodes."""
    if isinstance(tree, str):
        return set()
    found = set[str]()
    for node in tree:
        if not isinstance(node, str):
            found |= {node[0]} | tags(node[2])
    return found


def words(tree: Any) -> str:
    """Every text in a tree of nodes."""
    return "".join(node if isinstance(node, str) else words(node[2]) for node in tree)


def test_a_desk_without_guidelines_has_its_own_in_every_language(desk: Desk) -> None:
    assert version_in_force(desk.data_dir) == 0
    texts = {language: in_force(desk.data_dir, language).text for language in LANGUAGES}
    assert len(set(texts.values())) == len(LANGUAGES)
    assert in_force(desk.data_dir, "../../secrets").text == texts["en"]
    assert in_force(desk.data_dir).since is None


def test_each_version_is_a_file_of_its_own_and_the_newest_is_in_force(tmp_path: Path) -> None:
    assert save(tmp_path, "First.\n", after=0) == 1
    assert save(tmp_path, "Second.\n", after=1) == 2
    (tmp_path / "guidelines" / "notes.md").write_text("none of them")
    (tmp_path / "guidelines" / ".tmp0009.md").write_text("half")
    assert (in_force(tmp_path).version, in_force(tmp_path).text) == (2, "Second.\n")
    assert (tmp_path / "guidelines" / "0001.md").read_text() == "First.\n"


def test_a_version_that_somebody_else_saved_is_never_written_over(tmp_path: Path) -> None:
    save(tmp_path, "Theirs.\n", after=0)
    with pytest.raises(ChangedMeanwhileError):
        save(tmp_path, "Mine.\n", after=0)
    assert in_force(tmp_path).text == "Theirs.\n"


def test_of_eight_editors_who_save_at_once_one_does(tmp_path: Path) -> None:
    def try_to_save(number: int) -> bool:
        try:
            save(tmp_path, f"By {number}.\n", after=0)
        except ChangedMeanwhileError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_to_save, range(8))) == 1
    assert [path.name for path in (tmp_path / "guidelines").iterdir()] == ["0001.md"]


def test_an_editor_saves_and_who_was_overtaken_is_told(desk: Desk) -> None:
    saved = save_text(desk, {"text": "Look twice.", "after": 0})
    assert saved == {"ok": True, "says": {"key": "says.guidelines_saved", "version": 1}}
    late = save_text(desk, {"text": "Look once.", "after": 0})
    assert late == {"ok": False, "says": {"key": "says.guidelines_changed", "version": 1}}


@pytest.mark.parametrize("broken", [{"text": ""}, {"text": "  "}, {"text": 3}, {"text": "x" * 100_001}])
def test_guidelines_that_are_none_are_refused(desk: Desk, broken: dict[str, Any]) -> None:
    with pytest.raises(SubmissionError):
        save_text(desk, {"after": 0, **broken})
    assert version_in_force(desk.data_dir) == 0


def test_only_an_editor_gets_the_markdown(desk: Desk, person: Person, colleague: Person) -> None:
    save(desk.data_dir, "# Ours\n", after=0)
    assert person.role == Role.EDITOR
    assert shown(desk, person, "en")["text"] == "# Ours\n"
    assert shown(desk, colleague, "en")["text"] is None
    assert shown(desk, colleague, "en")["nodes"] == [["h2", {}, ["Ours"]]]


def test_markdown_becomes_tags_and_texts() -> None:
    tree = nodes(
        "# One\n\nA **b** *c* `d` [e](https://example.org).\n\n- f\n\n1. g\n\n> h\n\n"
        f"![i](desk/images/{SHA})\n\n"
        "| j | k |\n|---|---|\n| l | m |\n\n```\nn\n```\n"
    )
    expected = {"h2", "p", "strong", "em", "code", "a", "ul", "ol", "li", "blockquote", "img", "table", "pre"}
    assert expected <= tags(tree)
    assert json.dumps(tree)


def test_hostile_markdown_is_text() -> None:
    tree = nodes(
        "<script>alert(1)</script> <img src=x onerror=alert(1)>\n\n<div onclick=x>\n\n"
        "[click](javascript:alert(1)) [data](data:text/html,x) [file](file:///etc/passwd) [here](/logout)\n\n"
        "![far](https://evil.example/pixel.gif) ![up](desk/images/../../secret) {{template}} ${x}"
    )
    assert tags(tree) == {"p"}
    assert "<script>alert(1)</script>" in words(tree)
    assert "{{template}} ${x}" in words(tree)
    assert "far" in words(tree)
