"""How a run is launched: the commands, what goes out to a rented machine, and the hub up to submission."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from db.vocabulary import RunStatus, Stage
from ooc_app import launchers, rented, runner
from ooc_app.__main__ import main
from ooc_app.launchers import LOCAL, Launch, LaunchError
from ooc_app.rented import Rental
from tests.hub import hub_of
from tests.training.conftest import freeze_run, tiny_student
from training.config import ConfigError, load_config, save_config
from training.launch import job
from training.state import RunFolder

__all__ = ["tiny_student"]  # a fixture of the trainer's tests


@pytest.fixture
def run_dir(tmp_path: Path, tiny_student: Path) -> Path:
    """Give a run of a desk that nobody began, with what a machine leaves in a folder."""
    made = freeze_run(tmp_path / "data" / "runs" / "mine", tiny_student, max_steps=1)
    for name in ("run.log", "state.json", "lock"):
        (made / name).write_text(f'{{"status": "waiting", "why": "{tmp_path}"}}')
    return made


def options(run_dir: Path) -> list[str]:
    return ["--data", str(run_dir.parents[1])]


def test_a_file_that_is_no_launch_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no launch configuration at"):
        launchers.through_accelerate(None, tmp_path / "none.yaml")
    (tmp_path / "other.yaml").write_text("a: 1\n")
    with pytest.raises(LaunchError, match="says no num_processes"):
        launchers.through_accelerate(None, tmp_path / "other.yaml")


def test_processes_that_cannot_share_a_batch_are_refused_before_anything_starts(run_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"3 processes cannot share sft\.batch_size 4"):
        launchers.keep(run_dir, Launch("cpu.yaml", 3))
    assert launchers.kept(run_dir) == LOCAL


@pytest.mark.parametrize("timeout", ["4", "h", "4 hours", "-1h"])
def test_a_time_out_without_unit_is_refused(timeout: str) -> None:
    with pytest.raises(LaunchError, match="no time-out"):
        Rental(timeout=timeout)


def test_options_of_another_launcher_are_refused(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soon = ["--launcher", "hf-jobs", "--timeout", "soon"]
    for wrong, status in ((["--processes", "2"], 2), (["--submit"], 2), (soon, 1)):
        assert main(["distil", "--resume", "mine", *wrong, *options(run_dir)]) == status
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["distil", "--fetch", "mine", *options(run_dir)]) == 1
    assert "was not submitted from here" in capsys.readouterr().err


def test_a_launch_is_kept_with_the_run(run_dir: Path) -> None:
    assert launchers.kept(run_dir).command(run_dir) == [sys.executable, "-m", "training", str(run_dir)]
    launch = launchers.through_accelerate(2, launchers.LAUNCH_DIR / "fsdp2.yaml")
    launchers.keep(run_dir, launch)
    command = launchers.kept(run_dir).command(run_dir)
    assert command[-3:] == ["-m", "training", str(run_dir)]
    assert command[command.index("--num_processes") + 1] == "2"
    assert Path(command[command.index("--config_file") + 1]).is_file()
    launchers.keep(run_dir, LOCAL)
    assert launchers.kept(run_dir) == LOCAL


@pytest.mark.parametrize("path", sorted(launchers.LAUNCH_DIR.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_supplied_configuration_is_one_that_accelerate_reads(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).num_processes == 2


def test_a_run_that_fell_silent_says_the_last_word_of_a_process_beside_it(run_dir: Path) -> None:
    folder = RunFolder(run_dir)
    folder.say(stage=Stage.SFT)
    assert "was killed" in (runner.view(run_dir).why or "")
    (run_dir / "ended-1.json").write_text('{"why": "The disk is full."}')
    view = runner.view(run_dir)
    assert (view.status, view.why) == (RunStatus.FAILED, "The disk is full.")


@pytest.fixture
def prepared(run_dir: Path, tmp_path: Path) -> Path:
    """Give the folder that goes out."""
    rented.prepare(run_dir, tmp_path / "out")
    return tmp_path / "out"


def packed(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as file:
        members = file.getmembers()
        assert {(one.uname, one.uid, one.mtime, one.type) for one in members} == {("", 0, 0, tarfile.REGTYPE)}
        return {one.name: (file.extractfile(one) or file).read() for one in members}  # type: ignore[union-attr]


def test_what_goes_out_holds_records_pictures_and_student_and_no_path_or_secret(
    run_dir: Path, tiny_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    rented.prepare(run_dir, tmp_path / "out")
    run, code = (packed(tmp_path / "out" / f"{name}.tar.gz") for name in ("run", "code"))
    pictures = {f"images/{path.name}" for path in (run_dir / "images").iterdir()}
    records = {f"{name}.jsonl" for name in ("sft", "preferences", "validation", "test")}
    assert set(run) == {"config.json", "snapshot.json", *records, *pictures}
    assert json.loads(run["config.json"])["student"] == f"students/{tiny_student.name}"
    assert f"students/{tiny_student.name}/model.safetensors" in code
    assert {"db/vocabulary.py", "training/__main__.py", "training/launch/multi_gpu.yaml"} <= set(code)
    assert not [name for name in code if name.startswith(("ooc_app", "tests")) or "__pycache__" in name]
    for content in (*run.values(), *code.values(), (tmp_path / "out" / "job.py").read_bytes()):
        for secret in (str(tmp_path), str(tiny_student), str(Path.home()) + "/", "hf_of_a_test"):
            assert secret.encode() not in content


def test_a_student_of_the_project_goes_out_under_its_own_name(run_dir: Path, tmp_path: Path) -> None:
    config = replace(load_config(run_dir / "config.json"), student="assets/student")
    save_config(config, run_dir / "config.json")
    rented.prepare(run_dir, tmp_path / "out")
    assert "assets/student/config.json" in packed(tmp_path / "out" / "code.tar.gz")
    kept = packed(tmp_path / "out" / "run.tar.gz")["config.json"]
    assert kept == (run_dir / "config.json").read_bytes(), "its provenance holds here and there"


def test_the_script_names_the_very_versions_this_desk_has(prepared: Path) -> None:
    script = (prepared / "job.py").read_text()
    head = script.split("# ///")[1].removeprefix(" script\n")
    said = tomllib.loads("\n".join(line.removeprefix("# ") for line in head.splitlines()))
    pins = dict(one.split("==") for one in said["dependencies"])
    assert set(pins) >= {"torch", "trl", "peft", "huggingface_hub"}
    assert all(metadata.version(name).partition("+")[0] == version for name, version in pins.items())


def test_the_folder_that_goes_out_runs_on_its_own_and_goes_on_from_results(
    prepared: Path, tmp_path: Path
) -> None:
    """In the way a job runs it, but for `uv`, which would install what is installed."""
    elsewhere = Path(shutil.copytree(prepared, tmp_path / "elsewhere"))
    (elsewhere / "results").mkdir()
    (elsewhere / "results" / "metrics.jsonl").write_text('{"stage": "sft", "step": 99}\n')
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(elsewhere / "job.py")], cwd="/", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    folder = RunFolder(elsewhere / "run")
    assert folder.state().status is RunStatus.COMPLETE
    assert folder.newest_stage() is Stage.DPO
    assert 99 in [row["step"] for row in folder.metrics()]
    provenance = (folder.path / "provenance.json").read_text()
    assert str(tmp_path) not in provenance


class Hub(BaseHTTPRequestHandler):
    """Stands in for the hub on loopback: keeps what it is asked and what it is given."""

    asked: list[tuple[str, str, Any]]
    files: dict[str, bytes]
    is_private = True
    answer = 200

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(("GET", path, None))
        here = f"http://{self.headers['Host']}"
        if "/resolve/" in path:
            self._give(self.files[path.split("/resolve/")[1].partition("/")[2]])
        elif "/tree/" in path:
            self._say([
                {"type": "file", "path": name, "size": len(content), "oid": _tag(content)}
                for name, content in self.files.items()
            ])  # fmt: skip
        elif path == "/api/whoami-v2":
            self._say({"name": "desk", "type": "user", "auth": {}})
        else:
            siblings = [{"rfilename": name} for name in self.files]
            self._say({"id": "desk/x", "private": self.is_private, "sha": "0" * 40, "siblings": siblings,
                       "url": here})  # fmt: skip

    def do_HEAD(self) -> None:
        content = self.files[self.path.split("/resolve/")[1].partition("/")[2]]
        self._give(content, with_body=False)

    def do_POST(self) -> None:
        here = f"http://{self.headers['Host']}/datasets/desk/x"
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        lines = [json.loads(line) for line in body.splitlines() if line]
        self.asked.append(("POST", self.path, lines))
        if "/preupload/" in self.path:
            self._say({"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False,
                                  "oid": None} for one in lines[0]["files"]]})  # fmt: skip
        elif "/commit/" in self.path:
            for line in lines[1:]:
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._say({"success": True, "commitOid": "0" * 40, "commitUrl": f"{here}/commit/0"})
        elif "/api/jobs/" in self.path:
            owner = {"id": "1", "name": "desk", "type": "user"}
            self._say({"id": "job1", "createdAt": "2026-01-01T00:00:00.000Z", "flavor": lines[0]["flavor"],
                       "status": {"stage": "RUNNING"}, "owner": owner})  # fmt: skip
        else:
            self._say({"url": here, "name": "desk/x"})

    def _say(self, said: Any) -> None:
        self._give(json.dumps(said).encode(), kind="application/json")

    def _give(self, content: bytes, *, kind: str = "text/plain", with_body: bool = True) -> None:
        self.send_response(self.answer)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{_tag(content)}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on the terminal."""


def _tag(content: bytes) -> str:
    return f"{len(content):040x}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    """Give a hub on loopback that HF_ENDPOINT points to, and a token for it."""
    handler = type("OneHub", (Hub,), {"asked": [], "files": {}})
    with hub_of(handler, monkeypatch):
        yield handler


def test_a_job_puts_its_results_on_the_hub_and_none_of_what_went_out(
    run_dir: Path, tmp_path: Path, hub: type[Hub], capsys: pytest.CaptureFixture[str]
) -> None:
    made = run_dir.rename(tmp_path / "run")
    (made / "checkpoints" / "sft" / "checkpoint-1").mkdir(parents=True)
    (made / "checkpoints" / "sft" / "checkpoint-1" / "optimizer.pt").write_bytes(b"moments")
    job._push(tmp_path, "desk/ooc-run-mine")
    assert set(hub.files) == {"results/state.json", "results/checkpoints/sft/checkpoint-1/optimizer.pt"}
    hub.answer = 403
    job._push(tmp_path, "desk/ooc-run-mine")
    assert "were not put on the hub" in capsys.readouterr().err


def test_without_submit_nothing_goes_out_and_it_says_what_would(
    run_dir: Path, hub: type[Hub], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distil", "--resume", "mine", "--launcher", "hf-jobs", *options(run_dir)]) == 0
    said = capsys.readouterr().out
    assert str(run_dir / "rented") in said
    assert "private data set repository" in said
    assert "for 4h at most" in said
    assert hub.asked == []
    assert "mine/rented" not in str(sorted(packed(run_dir / "rented" / "run.tar.gz")))


def test_a_public_repository_gets_no_case(run_dir: Path, prepared: Path, hub: type[Hub]) -> None:
    hub.is_private = False
    with pytest.raises(LaunchError, match="is public"):
        rented.submit(prepared, run_dir, Rental())
    assert not hub.files


def test_a_refusal_is_one_line_and_the_run_can_be_submitted_again(
    run_dir: Path, hub: type[Hub], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["distil", "--resume", "mine", "--launcher", "hf-jobs", "--submit", *options(run_dir)]
    hub.answer = 403
    assert main(asked) == 1
    refused = capsys.readouterr().err
    assert "The hub refused the run (403)" in refused
    assert "hf_of_a_test" not in refused
    hub.answer = 200
    assert main(asked) == 0


def test_a_run_is_submitted_with_a_time_out_and_its_results_come_back(
    run_dir: Path, hub: type[Hub], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["distil", "--resume", "mine", "--launcher", "hf-jobs", "--submit", "--timeout", "90m",
             "--flavor", "l4x1", *options(run_dir)]  # fmt: skip
    assert main(asked) == 0
    assert set(hub.files) == {"job.py", "code.tar.gz", "run.tar.gz"}
    created = next(lines[0] for _, path, lines in hub.asked if path == "/api/repos/create")
    assert (created["type"], created["visibility"]) == ("dataset", "private")
    started = next(lines[0] for _, path, lines in hub.asked if path == "/api/jobs/desk")
    assert (started["flavor"], started["timeoutSeconds"]) == ("l4x1", 5400)
    assert started["secrets"] == {"HF_TOKEN": "hf_of_a_test"}
    assert started["command"][:2] == ["uv", "run"]
    assert started["command"][-1] == "desk/ooc-run-mine"
    compile(started["command"][-2], "bootstrap", "exec")
    assert "hf_of_a_test" not in str(started["command"])
    hub.files |= {"results/report.json": b'{"run": "mine"}', "results/sft/README.md": b"card"}
    assert main(["distil", "--fetch", "mine", *options(run_dir)]) == 0
    assert (run_dir / "sft" / "README.md").read_bytes() == b"card"
    assert runner.view(run_dir).status is RunStatus.COMPLETE
