import socket

import pytest

import app


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
