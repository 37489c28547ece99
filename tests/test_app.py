import socket
from pathlib import Path

import pytest

import app
from db import people
from db.engine import write_session
from db.passwords import hash_password
from db.vocabulary import Role
from ooc_app.auth import now
from ooc_app.desk import open_desk


def test_a_taken_port_is_one_clear_sentence_and_exit_status_1(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["--port", str(port), "--data", f"{tmp_path}/data"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert (
        said.err
        == f"Port {port} on 127.0.0.1 is taken: stop what listens there, or give --port another one.\n"
    )


def test_a_wrong_port_or_mode_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--port", "x"], ["--mode", "other"]):
        with pytest.raises(SystemExit) as left:
            app.main(wrong)
        assert left.value.code == 2


def test_a_space_listens_to_everybody_and_shows_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/ooc-desk")
    given = app.arguments([])
    assert (given.host, given.mode) == ("0.0.0.0", "demo")
    monkeypatch.delenv("SPACE_ID")
    assert (app.arguments([]).host, app.arguments([]).mode) == ("127.0.0.1", "desk")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "desk.example", ""])
def test_a_desk_without_sign_in_listens_on_this_machine_only(tmp_path: Path, host: str) -> None:
    with open_desk(tmp_path / "data") as desk:
        refused = app.refusal(desk, host)
        assert refused is not None
        assert "people add NAME --role editor" in refused
        assert refused.count("\n") == 0
        for own in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
            assert app.refusal(desk, own) is None


def test_it_says_so_in_one_sentence_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]
    data = str(tmp_path / "data")
    assert app.main(["--host", "0.0.0.0", "--port", str(port), "--data", data, "--empty"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Nobody has to sign in to this desk")
    assert said.err.count("\n") == 1


def test_with_sign_in_and_in_demo_mode_it_listens_anywhere(tmp_path: Path) -> None:
    with open_desk(tmp_path / "data") as desk:
        with write_session(desk.sessions) as session:
            people.add_person(session, None, "Vera", Role.EDITOR, hash_password("flood tower quay"), now())
        assert app.refusal(desk, "0.0.0.0") is None
    with open_desk(tmp_path / "visitors", mode="demo") as demo:
        assert app.refusal(demo, "0.0.0.0") is None


def test_names_may_be_given_again() -> None:
    assert app.arguments(["--name", "desk.example", "--name", "desk"]).name == ["desk.example", "desk"]
    assert app.arguments([]).name == []
