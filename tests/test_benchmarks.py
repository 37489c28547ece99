"""The benchmarks run, and print what they say they print; no test here is about how long anything takes."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.desk_cases import read_cases, write_cases
from benchmarks.processes import ServerError, in_child, server
from benchmarks.report import compared, figure, percentile, show

PROJECT_DIR = Path(__file__).resolve().parents[1]
SIZE = 300


def is_alive(process_id: int) -> bool:
    """Tell whether a process runs; one that has ended and is not waited for does not."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process_id}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_figure_that_could_not_be_measured_misses_its_goal() -> None:
    assert figure("p95", None, "ms", "<= 5").met is False
    assert figure("p95", 5.0, "ms", "<= 5").met is True
    assert figure("p95", 5.1, "ms", "<= 5").met is False
    assert figure("p95", 5.1, "ms").met is None


def test_a_ratio_above_one_is_better_whichever_way_the_unit_counts() -> None:
    faster = compared("p50", 8.0, 24.0, "ms", more_is_better=False)
    assert (faster.goal, faster.met, faster.ratio) == ("< 24", True, 3.0)
    slower = compared("import", 1000.0, 4000.0, "items/s", more_is_better=True)
    assert (slower.goal, slower.met, slower.ratio) == ("> 4000", False, 0.25)
    assert compared("p50", 8.0, None, "ms", more_is_better=False).goal is None


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([], 0.95) is None
    assert percentile([3.0], 0.95) == 3.0
    assert percentile(map(float, range(100)), 0.95) == 95.0


def test_figures_are_printed_as_one_json_object_or_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    figures = [
        figure("import", 20_000, "cases/s", ">= 15000"),
        compared("p50", 8, 24, "ms", more_is_better=False),
    ]
    show("desk", ["gradio"], figures, as_json=True, potato="2.12.1")
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() == {"benchmark", "machine", "versions", "figures"}
    assert printed["versions"]["potato"] == "2.12.1"
    assert printed["figures"][0].keys() == {"what", "value", "unit", "goal", "met"}
    assert printed["figures"][1]["ratio"] == 3.0
    show("desk", ["gradio"], figures, as_json=False)
    table = capsys.readouterr().out.splitlines()
    assert [line.split() for line in table[1:]] == [
        ["ours", "theirs", "unit", "ratio"],
        ["import", "20000", "-", "cases/s", "met"],
        ["p50", "8", "24", "ms", "3", "x", "met"],
    ]
    show("desk", ["gradio"], figures[:1], as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "import",
        "20000",
        "cases/s",
        ">=",
        "15000",
        "met",
    ]


def test_a_server_that_ends_at_once_says_what_it_printed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such setting')"]
    with (
        pytest.raises(ServerError, match="no such setting"),
        server(command, tmp_path / "log", answers="http://127.0.0.1:9/"),
    ):
        pytest.fail("it never ran")


def test_a_server_ends_with_its_workers_when_the_block_fails(tmp_path: Path) -> None:
    starts_a_worker = (
        "import subprocess, sys, time; from pathlib import Path;"
        "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "Path('part').write_text(str(worker.pid)); Path('part').rename('worker'); time.sleep(600)"
    )
    command = [sys.executable, "-c", starts_a_worker]
    with suppress(ZeroDivisionError), server(command, tmp_path / "log", cwd=tmp_path) as process:
        while not (tmp_path / "worker").exists():
            assert process.poll() is None
        worker = int((tmp_path / "worker").read_text())
        assert is_alive(worker)
        raise ZeroDivisionError
    assert process.returncode is not None
    assert not is_alive(worker)


def test_a_fresh_process_tells_its_own_peak_memory() -> None:
    length, small = in_child(len, b"")
    assert length == 0
    made, large = in_child("".ljust, 64 * 1024**2, "x")
    assert len(made) == 64 * 1024**2
    assert large - small >= 60


def test_the_cases_are_as_a_newsroom_has_them_and_the_same_each_time(tmp_path: Path) -> None:
    path = write_cases(tmp_path / "one.jsonl", 2000)
    cases = list(read_cases(path))
    assert path.read_bytes() == write_cases(tmp_path / "other.jsonl", 2000).read_bytes()
    verdicts = [{said["verdict"] for said in case["opinions"]} for case in cases]
    assert 0.20 <= sum(len(said) > 1 for said in verdicts) / len(cases) <= 0.25
    assert 4 <= len({case["source"] for case in cases}) <= 20
    assert all((tmp_path / case["image"]).is_file() for case in cases)
    lengths = [len(said["rationale"]) for case in cases for said in case["opinions"]]
    assert 180 <= sum(lengths) / len(lengths) <= 220


@pytest.mark.slow
def test_the_benchmark_of_the_desk_runs_and_finds_every_ruling(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/desk.py", "--sizes", str(SIZE), "--quick", "--json"]
    done = subprocess.run(
        [*command, "--cache", str(tmp_path / "cache")],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["benchmark"] == "desk"
    assert all(one.keys() == {"what", "value", "unit", "goal", "met"} for one in printed["figures"])
    values = {one["what"].removeprefix(f"{SIZE} cases: "): one["value"] for one in printed["figures"]}
    assert {what for what, value in values.items() if value is None} == set()
    assert {
        "import",
        "claim + ruling, p95",
        "stats, p95",
        "search for a word, p95",
        "export",
    } <= values.keys()
    assert values["page, acknowledged rulings"] > 0
    assert values["page, requests that failed"] == 0
    assert values["page, of these not in the database"] == 0
    assert values["page, cases ruled on too often"] == 0
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["items"]


@pytest.mark.slow
def test_the_benchmark_of_a_stage_runs_and_both_paths_agree() -> None:
    command = [sys.executable, "benchmarks/dpo.py", "--only", "tiny student", "--steps", "2", "--json"]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    figures = {one["what"].removeprefix("tiny student, "): one for one in json.loads(done.stdout)["figures"]}
    assert figures["largest difference of the loss"]["met"]
    assert figures["largest difference of the gradient norm"]["met"]
    assert figures["fast over TRL's defaults"]["value"] > 0
    assert figures["memory of TRL's defaults over fast"]["value"] > 0


@pytest.mark.slow
@pytest.mark.browser
def test_the_benchmark_of_the_page_runs(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/adjudicate.py", "--cases", "300", "--rulings", "3", "--json"]
    done = subprocess.run(
        [*command, "--cache", str(tmp_path)], cwd=PROJECT_DIR, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert figures
    assert all(one["value"] is not None for one in figures)


@pytest.mark.slow
def test_the_benchmark_of_asking_a_teacher_runs() -> None:
    command = [sys.executable, "benchmarks/teach.py", "--json"]
    small = ["--cases", "40", "--long", "60", "--seconds", "0.05"]
    done = subprocess.run([*command, *small], cwd=PROJECT_DIR, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert all(one["value"] > 0 for one in figures)
