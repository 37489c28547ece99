import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.models import Case, Opinion
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.entries import ImportFileError, LeftOut, Source
from ooc_app.intake.formats import import_file
from ooc_app.intake.importing import import_cases

PROJECT_DIR = Path(__file__).resolve().parents[3]


def line(number: int, **more: Any) -> dict[str, Any]:
    said = [{"teacher": name, "verdict": "in_context", "rationale": "R" * 50} for name in ("A", "B", "C")]
    return {"id": number, "caption": f"Caption {number}", "opinions": said, **more}


def written(folder: Path, count: int, name: str = "cases.jsonl") -> Path:
    path = folder / name
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps(line(number)) + "\n")
    return path


def counts(desk: Desk) -> tuple[int, int]:
    """How many cases and opinions there are."""
    with desk.sessions() as session:
        return (
            session.scalar(sa.select(sa.func.count()).select_from(Case)) or 0,
            session.scalar(sa.select(sa.func.count()).select_from(Opinion)) or 0,
        )


def test_a_missing_images_folder_is_named(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="There is no folder"):
        import_file(desk, "native", Source(written(tmp_path, 1)), tmp_path / "nowhere")
    assert counts(desk) == (0, 0)


def test_lines_left_out_are_counted_by_their_reason(desk: Desk, tmp_path: Path) -> None:
    entries = [LeftOut(number, "odd" if number % 2 else "even") for number in range(1, 1_004)]
    report = import_cases(desk, "x", entries, tmp_path)
    assert dict(report.left_out) == {"odd": 502, "even": 501}
    assert report.figures()["left_out"] == {"odd": 502, "even": 501}
    assert (report.read, report.bad_count) == (0, 0)


def test_a_file_of_bad_lines_only_leaves_the_desk_as_it_was(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text("x\n" * 700)
    report = import_file(desk, "native", Source(path))
    assert (report.read, report.bad_count, report.bad[-1].line) == (0, 700, 700)
    assert counts(desk) == (0, 0)


def test_an_id_that_comes_twice_with_another_caption_stays_as_it_came_first(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (line(1), line(1), line(1, caption="Other"))))
    report = import_file(desk, "native", Source(path))
    assert (report.cases, report.unchanged, report.differing) == (1, 1, 1)
    assert counts(desk) == (1, 3)


def test_a_file_with_cases_of_several_data_sets_keeps_them_apart_unless_one_is_named(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "cases.jsonl"
    rows = (line(1, dataset="a"), line(1, dataset="b"), line(1))
    path.write_text("\n".join(json.dumps(one) for one in rows))
    report = import_file(desk, "native", Source(path))
    assert dict(report.by_dataset) == {"a": 1, "b": 1, "cases": 1}
    assert (report.cases, counts(desk)) == (3, (3, 9))
    named = import_file(desk, "native", Source(path, dataset="mine"))
    assert (dict(named.by_dataset), named.cases, named.unchanged) == ({"mine": 3}, 1, 2)


def test_memory_does_not_grow_with_the_number_of_lines(desk: Desk, tmp_path: Path) -> None:
    peaks = []
    for count in (3_000, 12_000):
        path = written(tmp_path, count, f"{count}.jsonl")
        tracemalloc.start()
        import_file(desk, "native", Source(path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_an_import_killed_at_any_moment_has_whole_cases_and_goes_on(tmp_path: Path) -> None:
    """SIGKILL, at the moment a line of the bar would be printed."""
    path = written(tmp_path, 4_000)
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from ooc_app.desk import open_desk; from ooc_app.intake.entries import Source\n"
        "from ooc_app.intake.formats import import_file\n"
        "def die(lines, share):\n"
        "    if lines >= int(sys.argv[3]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "with open_desk(Path(sys.argv[1])) as desk:\n"
        "    import_file(desk, 'native', Source(Path(sys.argv[2])), progress=die)\n"
    )
    data_dir = tmp_path / "data"
    for lines in (1_000, 3_000):
        killed = subprocess.run(
            [sys.executable, "-c", code, data_dir, path, str(lines)],
            cwd=PROJECT_DIR,
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR)},
            timeout=120,
        )
        assert killed.returncode == -signal.SIGKILL
        with open_desk(data_dir) as desk:
            assert counts(desk) == (lines, 3 * lines)
    with open_desk(data_dir) as desk:
        report = import_file(desk, "native", Source(path))
        assert (report.cases, report.unchanged) == (1_000, 3_000)
        assert counts(desk) == (4_000, 12_000)
