"""What comes out of a run: provenance, cards, a merged model, and what goes up to the hub."""

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors import safe_open

from db.vocabulary import Split, Stage
from ooc_app.__main__ import main
from tests.hub import hub_of
from tests.training.conftest import MakeRun, freeze_run
from training import distil, provenance, publishing
from training.config import load_config
from training.merging import merge
from training.presets import preset_names, preset_plan
from training.records import GoldCase, read_records
from training.state import RunFolder, RunFolderError
from training.student import Student


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_student: Path) -> Path:
    """Give a complete run, made once."""
    run_dir = freeze_run(tmp_path_factory.mktemp("finished") / "run", tiny_student, max_steps=2)
    distil.run(RunFolder(run_dir))
    return run_dir


@pytest.fixture
def run_dir(finished: Path, tmp_path: Path) -> Path:
    """Give a copy of the complete run to change."""
    return Path(shutil.copytree(finished, tmp_path / finished.name, symlinks=True))


def texts_of(run_dir: Path) -> Iterator[str]:
    for name in (provenance.FILE_NAME, "sft/README.md", "dpo/README.md", "dpo/adapter_config.json"):
        yield (run_dir / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["dpo/adapter_model.safetensors", "sft.jsonl", "report.json", "config.json"])
def test_a_changed_file_is_named(run_dir: Path, name: str) -> None:
    with (run_dir / name).open("ab") as file:
        file.write(b" ")
    found = provenance.verify(run_dir)
    assert found.changed == (name,)
    assert not found.holds


def test_a_missing_file_and_one_that_was_added_are_named(run_dir: Path) -> None:
    (run_dir / "calibration.json").unlink()
    (run_dir / "dpo" / "more.bin").write_bytes(b"")
    found = provenance.verify(run_dir)
    assert (found.missing, found.changed) == (("calibration.json",), ("dpo/more.bin",))


def test_another_version_of_a_package_is_a_note(run_dir: Path) -> None:
    path = run_dir / provenance.FILE_NAME
    path.write_text(path.read_text().replace(f'"peft": "{provenance.installed()["peft"]}"', '"peft": "0.1"'))
    found = provenance.verify(run_dir)
    assert found.holds
    assert any("peft 0.1" in line for line in found.differences)


def test_a_run_without_provenance_says_so(make_run: MakeRun) -> None:
    with pytest.raises(RunFolderError, match="not complete, or of an earlier version"):
        provenance.verify(make_run())


def test_a_run_is_tied_to_student_snapshot_code_and_packages(finished: Path, tiny_student: Path) -> None:
    said = provenance.read_provenance(finished)
    assert provenance.verify(finished) == provenance.Verified(len(said["files"]), (), (), ())
    assert said["snapshot"] == json.loads((finished / "snapshot.json").read_text())["hash"]
    assert {"sft/adapter_model.safetensors", "dpo/adapter_model.safetensors", "report.json"} <= set(
        said["files"]
    )
    assert said["code"] is None or len(said["code"]["commit"]) == 40
    assert said["packages"]["trl"]
    weights = (tiny_student / "model.safetensors").read_bytes()
    assert said["base"] == {"model.safetensors": hashlib.sha256(weights).hexdigest()}


def test_nothing_that_comes_out_holds_a_path_of_this_machine(finished: Path) -> None:
    for text in texts_of(finished):
        assert str(Path.home()) not in text
        assert "/tmp/" not in text
        assert str(finished.parent) not in text


def test_the_card_has_counts_figures_uses_and_limits(finished: Path) -> None:
    card = (finished / "dpo" / "README.md").read_text(encoding="utf-8")
    report = RunFolder(finished).report()
    assert report is not None
    low, high = report["stage2"]["interval"]
    for said in (
        "library_name: peft", "## Data", "## Intended use", "## Limits", "## Licence",
        f"{low:.3f} to {high:.3f}", "calibration error", f"| rulings | {report['rulings']} (",
    ):  # fmt: skip
        assert said in card
    assert "base_model:" not in card, "a folder of this machine is no model of the hub"


def test_an_adapter_is_of_the_language_model_alone_as_servers_take_it(finished: Path) -> None:
    config = json.loads((finished / "dpo" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == Path(load_config(finished / "config.json").student).name
    assert (config["bias"], config["modules_to_save"], config["use_dora"]) == ("none", None, False)
    with safe_open(finished / "dpo" / "adapter_model.safetensors", framework="pt") as file:
        names = list(file.keys())
    assert all(".text_model.layers." in name for name in names)
    assert {name.rsplit(".", 2)[1] for name in names} == {"lora_A", "lora_B"}


@pytest.mark.parametrize("name", [name for name in preset_names() if name != "demo"])
def test_the_targets_of_a_preset_end_in_one_group_of_names(name: str) -> None:
    """As vLLM reads a regular expression of target modules (vllm/lora/utils.py)."""
    targets = preset_plan(name).config.lora.targets
    assert targets.count("(") == 1
    assert set(targets[targets.index("(") + 1 : -1].split("|")) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


def test_a_merged_model_answers_as_base_and_adapter_do(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    assert merge(finished, target) is Stage.DPO
    cases = [held_out.case for held_out in read_records(finished / "test.jsonl", GoldCase)]
    pictures = [Image.open(finished / case.image).convert("RGB") for case in cases]
    apart, whole = Student.load(str(finished)), Student.load(str(target))
    assert whole.margins(pictures, cases) == pytest.approx(apart.margins(pictures, cases), abs=1e-5)
    assert whole.temperature == apart.temperature
    assert "library_name: transformers" in (target / "README.md").read_text()
    with pytest.raises(RunFolderError, match="there already"):
        merge(finished, target)


def test_an_unfinished_run_is_neither_merged_nor_pushed(make_run: MakeRun, tmp_path: Path) -> None:
    unfinished = make_run()
    with pytest.raises(RunFolderError, match="not complete"):
        merge(unfinished, tmp_path / "merged")
    with pytest.raises(RunFolderError, match="not complete"):
        publishing.adapter_files(unfinished)


class Hub(BaseHTTPRequestHandler):
    """Stands in for the hub on loopback: keeps what it is asked, and takes every file as a regular one."""

    asked: list[tuple[str, str, str | None, Any]]
    is_private: bool
    answer: int

    def do_GET(self) -> None:
        self._kept("GET", None)
        self._say({"id": "desk/student", "private": self.is_private})

    def do_POST(self) -> None:
        here = f"http://{self.headers['Host']}/desk/student"
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        lines = [json.loads(line) for line in body.splitlines() if line]
        self._kept("POST", lines)
        if self.path.endswith("/preupload/main"):
            files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for one in lines[0]["files"]]  # fmt: skip
            self._say({"files": files})
        elif "/commit/" in self.path:
            self._say({"success": True, "commitOid": "0" * 40, "commitUrl": f"{here}/commit/0"})
        else:
            self._say({"url": here, "errors": [], "warnings": []})

    def _kept(self, method: str, lines: Any) -> None:
        self.asked.append((method, self.path, self.headers["Authorization"], lines))

    def _say(self, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(self.answer)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on the terminal."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """Give a hub on loopback that HF_ENDPOINT points to, and a token for it."""
    handler = type("OneHub", (Hub,), {"asked": [], "is_private": True, "answer": 200})
    with hub_of(handler, monkeypatch):
        yield handler


def test_without_a_token_nothing_goes_up(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch, finished: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(publishing.PublishingError, match="HF_TOKEN"):
        publishing.push(publishing.adapter_files(finished), "desk/student", public=False)
    assert hub.asked == []


def test_a_public_repository_is_not_pushed_to_by_mistake(hub: type[Hub], finished: Path) -> None:
    hub.is_private = False
    with pytest.raises(publishing.PublishingError, match="is public"):
        publishing.push(publishing.adapter_files(finished), "desk/student", public=False)
    assert not any("/commit/" in path for _, path, _, _ in hub.asked)


def test_a_refusal_is_one_line_without_the_token(hub: type[Hub], finished: Path) -> None:
    hub.answer = 403
    with pytest.raises(publishing.PublishingError, match="refused desk/student") as refused:
        publishing.push(publishing.adapter_files(finished), "desk/student", public=False)
    assert "hf_of_a_test" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_push_sends_adapter_card_and_provenance_and_no_case(hub: type[Hub], finished: Path) -> None:
    files = publishing.adapter_files(finished)
    assert publishing.push(files, "desk/student", public=False).endswith("/desk/student/commit/0")
    created = next(lines[0] for _, path, _, lines in hub.asked if path == "/api/repos/create")
    assert created["visibility"] == "private"
    assert {token for _, _, token, _ in hub.asked} == {"Bearer hf_of_a_test"}
    sent = next(lines for _, path, _, lines in hub.asked if "/commit/" in path)
    contents = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in sent[1:]}
    assert set(contents) == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "provenance.json",
        "calibration.json", "report.md",
    }  # fmt: skip
    for name, content in contents.items():
        assert content == files[name].read_bytes()


def test_report_and_cards_say_which_teachers_made_agreed_and_conflict(finished: Path) -> None:
    sentence = "Agreed and conflict go by the opinions of right (org/m, teach-2, 8 opinions)."
    assert json.loads((finished / "report.json").read_text())["split_by"][0]["model"] == "org/m"
    for name in ("report.md", "sft/README.md", "dpo/README.md"):
        assert sentence in (finished / name).read_text()


def test_held_out_cases_are_what_a_run_keeps_to_itself(finished: Path, tmp_path: Path) -> None:
    merge(finished, tmp_path / "merged")
    names = publishing.merged_files(tmp_path / "merged", finished)
    assert "model.safetensors" in names
    assert not {f"{split.value}.jsonl" for split in Split} & set(names)
    assert not [name for name in names if name.endswith((".jsonl", ".jpg"))]
    assert all(path.is_file() for path in names.values())


@pytest.fixture
def desk_of(run_dir: Path, tmp_path: Path) -> list[str]:
    """Give the options of a desk that holds a copy of the complete run, `run`."""
    (tmp_path / "data" / "runs").mkdir(parents=True)
    run_dir.rename(tmp_path / "data" / "runs" / "run")
    return ["--data", str(tmp_path / "data")]


def test_commands_refuse_in_one_line(
    desk_of: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (["merge", "none", str(tmp_path / "m")], ["push", "none", "a/b"], ["provenance", "../x"]):
        assert main([*asked, *desk_of]) == 1
        assert "There is no run named" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["push", "run", "not a repository", *desk_of])


def test_a_dry_push_lists_what_would_go_up(
    desk_of: list[str], hub: type[Hub], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", "run", "desk/student", "--dry-run", "--json", *desk_of]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["visibility"], "adapter_model.safetensors" in said["files"]) == ("private", True)
    assert main(["push", "run", "desk/student", "--merged", "--public", "--dry-run", *desk_of]) == 0
    assert " model.safetensors" in capsys.readouterr().out
    assert hub.asked == []


def test_provenance_says_what_is_tied_and_what_was_changed(
    desk_of: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["provenance", "run", *desk_of]) == 0
    assert "files are as they were" in capsys.readouterr().out
    (tmp_path / "data" / "runs" / "run" / "sft.jsonl").write_text("")
    assert main(["provenance", "run", "--json", *desk_of]) == 1
    assert json.loads(capsys.readouterr().out)["verified"]["changed"] == ["sft.jsonl"]
