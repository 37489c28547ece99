import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.models import Case, Opinion, TeachRun
from ooc_app.__main__ import main
from ooc_app.desk import open_desk
from tests.ooc_app.teacher_server import KEY, MODEL, TeacherServer, serving
from tests.ooc_app.test_teaching import put_cases

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server() -> Iterator[TeacherServer]:
    """Give a teacher's server."""
    with serving() as running:
        yield running


@pytest.fixture
def data(tmp_path: Path, server: TeacherServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a data folder with six cases, and the server's teacher in its settings."""
    monkeypatch.setenv("DESK_KEY", KEY)
    return made(tmp_path / "data", server, 6)


def made(data_dir: Path, server: TeacherServer, cases: int) -> Path:
    with open_desk(data_dir) as desk:
        put_cases(desk, cases)
    with (data_dir / "settings.toml").open("a") as settings:
        settings.write(
            f'\n[teachers.rule]\nkind = "endpoint"\nmodel = "{MODEL}"\nbase_url = "{server.base_url}"\n'
            'key_env = "DESK_KEY"\nconcurrency = 4\nprice_in = 1.0\n'
        )
    return data_dir


def teach(data_dir: Path, *argv: str) -> int:
    return main(["teach", *argv, "--data", str(data_dir)])


def kept(data_dir: Path) -> set[str]:
    """The captions that the asked teacher has an opinion of."""
    with open_desk(data_dir) as desk, desk.sessions() as session:
        asked = sa.select(Case.caption).join(Opinion, Opinion.case_id == Case.id)
        return set(session.scalars(asked.where(Opinion.model == MODEL, Opinion.current)))


@pytest.mark.parametrize(
    ("argv", "said", "status"),
    [
        ([], "Name the teacher", 2),
        (["nobody"], "settings.toml has no teacher 'nobody': it has rule.", 1),
        (["rule", "--limit", "0"], "--limit is 0: give a number above 0.", 2),
        (["rule", "--budget", "nan"], "--budget is nan", 2),
        (["rule", "--concurrency", "9999"], "concurrency 9999 is not between", 1),
        (["nobody", "--retire"], "There is no teacher 'nobody'", 1),
        (["rule", "--flipped"], "answered nothing yet", 1),
    ],
)
def test_what_cannot_be_asked_is_one_sentence_and_a_status(
    data: Path, argv: list[str], said: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(data, *argv) == status
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1, error


def test_a_budget_without_prices_would_never_be_spent_and_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = data / "settings.toml"
    settings.write_text(settings.read_text().replace("price_in = 1.0", ""))
    assert teach(data, "rule", "--budget", "1") == 2
    assert "give price_in and price_out of rule" in capsys.readouterr().err


def test_a_wrong_key_and_a_server_that_is_down_are_said_and_status_1(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert teach(data, "rule", "--test") == 0
    assert f"answers and has the model {MODEL}" in capsys.readouterr().out
    monkeypatch.setenv("DESK_KEY", "wrong")
    assert teach(data, "rule", "--test") == 1
    assert "does not accept the key" in capsys.readouterr().err
    assert teach(data, "rule") == 1
    assert "does not accept the key" in capsys.readouterr().err


def test_a_dry_run_shows_what_is_sent_and_read_and_keeps_nothing(
    data: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(data, "rule", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "<picture 64x48, 1 kB>" in out
    assert "out_of_context, confidence 0.75; elements that do not fit: place" in out
    assert "All 6 cases would take about 0 s and cost less than 0.01 USD." in out
    assert KEY not in out
    server.raw = "\x1b[2J no \x07"
    assert teach(data, "rule", "--dry-run") == 0
    assert "\x1b" not in capsys.readouterr().out
    assert teach(data, "rule", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["missing"] == 6
    assert kept(data) == set()


def test_a_run_asks_what_is_missing_and_says_how_it_went(
    data: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(data, "rule", "--limit", "2") == 0
    assert "The same command goes on with the 4 cases left." in capsys.readouterr().out
    assert teach(data, "rule", "--json", "--budget", "1", "--tokens", "100000", "--minutes", "5") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["teach", *["opinion"] * 4, "done"]
    assert (events[0]["cases"], events[-1]["why"], events[-1]["left"]) == (4, "all", 0)
    assert events[-1]["cost"] == pytest.approx(0.004)
    assert set(server.asked.values()) == {1}
    assert teach(data, "rule", "--flipped", "--limit", "3") == 0
    assert "0 of 3 verdicts changed with the order (0.0 %)" in capsys.readouterr().out


def test_a_budget_ends_the_run_before_it_is_spent(
    data: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(data, "rule", "--budget", "0.0035") == 0
    assert "goes on with the 3 cases left" in capsys.readouterr().out
    assert len(server.asked) == 3


def test_teachers_are_listed_retired_and_reinstated(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert teach(data, "rule") == 0
    capsys.readouterr()
    assert teach(data, "rule", "--retire") == 0
    assert teach(data, "--list") == 0
    out = capsys.readouterr().out
    assert f"rule: endpoint {MODEL}, 0 opinions, retired" in out
    assert "A: recorded, 6 opinions" in out
    assert teach(data, "rule") == 1
    assert "rule is retired" in capsys.readouterr().err
    assert teach(data, "rule", "--reinstate") == 0
    assert "rule counts again, with 6 opinions." in capsys.readouterr().out
    assert main(["stats", "--json", "--data", str(data)]) == 0
    teachers = json.loads(capsys.readouterr().out)["teachers"]
    assert [(one["name"], one["kind"], one["active"]) for one in teachers] == [
        ("A", "recorded", True),
        ("rule", "endpoint", True),
    ]
    assert teach(data, "--list", "--json") == 0
    assert json.loads(capsys.readouterr().out)["teachers"][1]["missing"] == 0


def test_what_a_run_saw_of_a_teachers_sight_is_said_once(
    tmp_path: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESK_KEY", KEY)
    data = made(tmp_path / "data", server, 120)
    server.looks = False
    assert teach(data, "rule") == 1
    told = capsys.readouterr()
    assert told.err.count("this teacher judges the text alone.") == 1
    assert "text alone" not in told.out
    server.looks = True
    assert teach(data, "rule", "--go-on") == 0
    assert "with noise" not in "".join(capsys.readouterr())
    other = made(tmp_path / "other", server, 60)
    assert teach(other, "rule") == 0
    assert capsys.readouterr().out.count("with noise for a picture: this teacher looks.") == 1


def test_ctrl_c_keeps_what_is_on_its_way_and_says_how_to_go_on(
    data: Path, server: TeacherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.free.clear()

    def press() -> None:
        while sum(server.asked.values()) < 4:
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        server.free.set()

    before = signal.getsignal(signal.SIGINT)
    pressing = threading.Thread(target=press)
    pressing.start()
    assert teach(data, "rule") == 1
    pressing.join()
    told = capsys.readouterr()
    assert "The same command goes on with the 2 cases left." in told.err
    assert (len(kept(data)), sum(server.asked.values())) == (4, 4)
    assert signal.getsignal(signal.SIGINT) is before


class _Asking:
    """A real `python -m ooc_app teach`, whose lines say which opinions it has acknowledged."""

    def __init__(self, data_dir: Path) -> None:
        self.acknowledged: list[dict[str, Any]] = []
        self.text = ""
        argv = [
            sys.executable,
            "-m",
            "ooc_app",
            "teach",
            "rule",
            "--json",
            "--go-on",
            "--data",
            str(data_dir),
        ]
        self.process = subprocess.Popen(
            argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "DESK_KEY": KEY},
        )  # fmt: skip

    def read(self, until: int | None = None) -> None:
        """Read its lines, to the end or until so many opinions are acknowledged."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "opinion":
                self.acknowledged.append(event)
            if len(self.acknowledged) == until:
                return

    def ended(self, *, kill: bool = False) -> int:
        """Read what is left, and return the exit status."""
        if kill:
            self.process.kill()
        self.read()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait()


@pytest.mark.parametrize("cases", [140, pytest.param(500, marks=pytest.mark.soak)])
def test_a_killed_run_loses_no_acknowledged_answer_and_the_next_asks_exactly_what_is_left(
    tmp_path: Path, server: TeacherServer, cases: int
) -> None:
    data = made(tmp_path / "data", server, cases)
    server.seconds = 0.01
    first = _Asking(data)
    first.read(until=cases // 2)
    server.free.clear()
    lost = blind = 0
    while lost + blind < 4:  # every worker waits for an answer that will not come
        threading.Event().wait(0.05)
        with server.lock:
            lost = server.asked.total() - server.answered.total()
            blind = server.noise.total() - server.noise_answered.total()
    assert first.ended(kill=True) == -signal.SIGKILL
    server.free.set()
    before, there = dict(server.asked), kept(data)
    acknowledged = {f"Case {event['case'].removeprefix('test/')}." for event in first.acknowledged}
    assert len(acknowledged) >= cases // 2
    assert acknowledged <= there
    assert len(before) - len(there) == lost
    assert server.noise.total() == 12

    second = _Asking(data)
    assert second.ended() == 0, second.text
    again = {caption for caption, times in server.asked.items() if times == 2}
    assert again == before.keys() - there
    assert server.asked.total() == cases + lost
    assert server.noise.total() == 2 * 12, "what the first run saw was lost with it, so the second looked"
    assert len(kept(data)) == cases
    with open_desk(data) as desk, desk.sessions() as session:
        why = session.execute(sa.select(TeachRun.why, TeachRun.kept).order_by(TeachRun.id)).all()
        assert [tuple(row) for row in why] == [("cut off", len(there)), ("all", cases - len(there))]
    assert server.keys == {f"Bearer {KEY}"}
    assert KEY not in first.text + second.text
    for path in data.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
