from pathlib import Path

import pytest

from ooc_app.provenance import apart
from ooc_app.provenance.apart import ApartError, read_apart


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a reader named `reader`, found in the working folder of its process."""
    monkeypatch.setattr(apart, "PROJECT_DIR", tmp_path)
    return tmp_path / "reader.py"


def test_a_reader_that_hangs_is_ended(reader: Path) -> None:
    reader.write_text("import time; time.sleep(60)")
    with pytest.raises(ApartError, match=r"more than 0\.5 seconds"):
        read_apart("reader", {}, b"", seconds_max=0.5)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.abort()",
        "print('no object')",
        "print([1])",
        "print('1' * (1 << 21))",
        "raise SystemExit(3)",
    ],
)
def test_a_reader_that_crashes_or_says_nonsense_is_one_error(reader: Path, code: str) -> None:
    reader.write_text(code)
    with pytest.raises(ApartError, match="makes the reader crash"):
        read_apart("reader", {}, b"some bytes")


def test_a_reader_gets_the_bytes_and_nothing_of_our_environment(
    reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    reader.write_text(
        "import json, os, sys\n"
        "options = json.loads(sys.stdin.buffer.readline())\n"
        "data = sys.stdin.buffer.read()\n"
        "print(json.dumps({'options': options, 'size': len(data), 'key': os.environ.get('OPENAI_API_KEY')}))"
    )
    answer = read_apart("reader", {"a": 1}, b"\n\n12")
    assert answer == {"options": {"a": 1}, "size": 4, "key": None}


def test_a_reader_that_prints_without_end_is_ended(reader: Path) -> None:
    reader.write_text("while True: print('x' * 100_000)")
    with pytest.raises(ApartError, match="makes the reader crash"):
        read_apart("reader", {}, b"", seconds_max=10.0)


def test_a_reader_that_does_not_read_keeps_nobody_waiting(reader: Path) -> None:
    reader.write_text("print('{}')")
    assert read_apart("reader", {}, bytes(1 << 22)) == {}
