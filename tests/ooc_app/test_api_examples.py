import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]

from ooc_app.checks.typed import CheckedImage
from tests.ooc_app.asked import assert_keys, call, examples, scene
from tests.ooc_app.served import REAL, served

PYTHON, BASH = (examples(language, signing_in=False) for language in ("python", "bash"))
"""As they stand in docs/api.md; those that sign in are run in test_mcp.py, before a desk with sign-in."""


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a desk with the student of the shipped run."""
    folder = tmp_path_factory.mktemp("student")
    with served(folder / "data", REAL, OOC_STUDENT="assets/demo-run") as address:
        yield address


@pytest.fixture
def beside_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.jpg").write_bytes(scene(4))
    return tmp_path


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_the_documented_python_runs(
    student: str,
    beside_a_picture: Path,
    number: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names: dict[str, Any] = {}
    example = PYTHON[number].replace("http://127.0.0.1:7860", student)
    exec(compile(example, f"docs/api.md, example {number}", "exec"), names)
    said = capsys.readouterr().out
    if "refused" in example:
        assert said == "Add the caption: the student judges a picture and its caption together.\n"
    if "answer" in names:
        assert_keys(names["answer"], CheckedImage)
        assert names["answer"]["student"] == "assets/demo-run"
        assert names["answer"]["rationale"]
    assert said


@pytest.mark.parametrize("number", range(len(BASH)))
def test_the_documented_curl_runs(student: str, beside_a_picture: Path, number: int) -> None:
    example = BASH[number].replace("http://127.0.0.1:7860", student)
    done = subprocess.run(["bash", "-eu", "-c", example], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('event: complete\ndata: [{"verdict": '), done.stdout


def test_an_upload_is_taken_by_the_address_that_gradio_gives_it(student: str) -> None:
    with httpx.Client(base_url=student, timeout=60) as http:
        (path,) = http.post("/gradio_api/upload", files={"files": ("picture.jpg", scene(4))}).json()
        address = f"{student}/gradio_api/file={quote(path)}"
        told = call(http, "check_image", address, "A market.", "", "", "").json()
    assert_keys(told["data"][0], CheckedImage)


@pytest.mark.parametrize("each", [2, pytest.param(10, marks=pytest.mark.soak)])
def test_ten_programs_at_once_are_all_answered(student: str, beside_a_picture: Path, each: int) -> None:
    pictures = []
    for number in range(5):
        pictures.append(beside_a_picture / f"small-{number}.jpg")
        pictures[-1].write_bytes(scene(number, 96))

    def ask(program: int) -> list[Any]:
        client = Client(student, verbose=False)
        return [
            client.predict(
                handle_file(pictures[(program + n) % 5]), f"Market {program}-{n}.", api_name="/check_image"
            )
            for n in range(each)
        ]

    with ThreadPoolExecutor(10) as pool:
        told = [one for answers in pool.map(ask, range(10)) for one in answers]
    assert len({one["report"] for one in told}) == 10 * each
