import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.models import Case, Image, Opinion, Queued
from db.views import CaseView, case_views
from db.vocabulary import Answer, Split, Verdict
from ooc_app.desk import Desk
from ooc_app.intake import importing, rows
from ooc_app.intake.entries import ImportFileError, Source
from ooc_app.intake.formats import import_file
from ooc_app.intake.importing import ImportReport, Progress

Picture = Callable[..., bytes]


def write(folder: Path, *lines: object, name: str = "cases.jsonl") -> Path:
    """Write JSON lines; a bytes or str line is written as it is."""
    path = folder / name
    with path.open("wb") as file:
        for line in lines:
            data = line if isinstance(line, bytes) else line if isinstance(line, str) else json.dumps(line)
            file.write((data if isinstance(data, bytes) else data.encode()) + b"\n")
    return path


def import_native(
    desk: Desk,
    path: Path,
    images_dir: Path | None = None,
    split: Split | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    return import_file(desk, "native", Source(path, split, dataset=name), images_dir, progress)


def views(desk: Desk) -> list[CaseView]:
    with desk.sessions() as session:
        return case_views(session, session.scalars(sa.select(Case.id).order_by(Case.id)).all())


def count(desk: Desk, table: type[Any]) -> int:
    with desk.sessions() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_a_missing_file_or_folder_is_named(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match=r"no file .*nowhere\.jsonl"):
        import_native(desk, tmp_path / "nowhere.jsonl")
    with pytest.raises(ImportFileError, match=r"no folder .*nowhere"):
        import_native(desk, write(tmp_path, {"caption": "A"}), tmp_path / "nowhere")
    assert count(desk, Case) == 0


def test_a_file_that_is_not_utf_8_is_named(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text('{"caption": "A"}', encoding="utf-16")
    with pytest.raises(ImportFileError, match="UTF-16"):
        import_native(desk, path)


def test_a_csv_file_without_captions_is_named(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="no column `caption`"):
        import_native(desk, write(tmp_path, "id,text", "1,A", name="cases.csv"))
    with pytest.raises(ImportFileError, match="no column `caption`"):
        import_native(desk, write(tmp_path, "", name="empty.csv"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"caption": ' + "9" * 5_000 + "}", "number that is too long"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ({}, "`caption` is missing"),
        ({"caption": "  "}, "`caption` is missing"),
        ({"caption": ["A"]}, "`caption` is not a text"),
        ({"caption": "A\0B"}, "NUL"),
        (b'{"caption": "caf\xe9"}', "not valid UTF-8"),
        ('{"caption": "\\ud800"}', "not valid UTF-8"),
        ({"caption": "A", "gold": "fake"}, "`gold` is 'fake', not one of in_context, out_of_context"),
        ({"caption": "A", "gold": "unsure"}, "`gold` is 'unsure'"),
        ({"caption": "A", "gold": True}, "`gold` is not a text"),
        ({"caption": "A", "split": "dev"}, "`split` is 'dev'"),
        ({"caption": "A", "evidence": {"kind": "image"}}, "`evidence` is not a list of objects"),
        ({"caption": "A", "evidence": [{"kind": "video"}]}, "`kind` is 'video'"),
        ({"caption": "A", "evidence": [{"title": "B"}]}, "has no `kind`"),
        ({"caption": "A", "opinions": ["yes"]}, "`opinions` is not a list of objects"),
        ({"caption": "A", "opinions": [{"verdict": "unsure"}]}, "has no `teacher`"),
        ({"caption": "A", "opinions": [{"teacher": "T"}]}, "the opinion of 'T' has no `verdict`"),
        (
            {"caption": "A", "opinions": [{"teacher": "T", "verdict": "unsure", "confidence": 80}]},
            "`confidence` is '80'",
        ),
        ('{"caption": "A", "opinions": [{"teacher": "T", "verdict": "unsure", "confidence": NaN}]}', "'nan'"),
        (
            '{"caption": "A", "opinions": [{"teacher": "T", "verdict": "unsure", "confidence": Infinity}]}',
            "'inf'",
        ),
        ({"caption": "A", "opinions": [{"teacher": "T", "verdict": "unsure"}] * 2}, "two opinions"),
        (
            {"caption": "A", "opinions": [{"teacher": "T", "verdict": "unsure", "elements": ["town"]}]},
            "`elements` is 'town', not one of person, place, time, event, object, other",
        ),
        ({"caption": "A", "id": 10**30}, "`id` is a number too large to be kept exactly"),
        ({"caption": "A", "note": {"a": 1}}, "`note` is not a text"),
        (b'{"caption": "A", "opinions": [{"teacher": "T\xff", "verdict": "unsure"}]}', "not valid UTF-8"),
    ],
)
def test_a_bad_line_is_reported_and_the_good_ones_are_in(
    line: object, reason: str, desk: Desk, tmp_path: Path
) -> None:
    report = import_native(desk, write(tmp_path, {"caption": "good"}, line, {"caption": "good too"}))
    assert [(bad.line, reason in bad.reason) for bad in report.bad] == [(2, True)], report.bad
    assert (report.cases, report.bad_count) == (2, 1)
    assert [view.caption for view in views(desk)] == ["good", "good too"]


def test_a_line_too_long_is_reported_without_being_held(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LINE_MAX", 100)
    report = import_native(desk, write(tmp_path, {"caption": "x" * 1_000}, {"caption": "good"}))
    assert [(bad.line, bad.reason) for bad in report.bad] == [(1, "the line has more than 100 bytes")]
    assert report.cases == 1


def test_of_very_many_bad_lines_the_first_are_kept_and_all_are_counted(desk: Desk, tmp_path: Path) -> None:
    report = import_native(desk, write(tmp_path, *["{"] * 2_500))
    assert (len(report.bad), report.bad_count, report.bad[-1].line) == (1_000, 2_500, 1_000)


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "a/../../secret.jpg", "link.jpg", "folder/secret.jpg"]
)
def test_a_picture_outside_the_images_folder_is_refused(
    name: str, desk: Desk, tmp_path: Path, picture: Picture
) -> None:
    images_dir = tmp_path / "images"
    (images_dir / "a").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(picture())
    (images_dir / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (images_dir / "folder").symlink_to(tmp_path)
    report = import_native(desk, write(tmp_path, {"caption": "A", "image": name}), images_dir)
    assert [bad.reason for bad in report.bad] == [f"its picture {name!r} lies outside the images folder"]
    assert (count(desk, Case), count(desk, Image)) == (0, 0)


def test_what_is_no_picture_is_refused_with_the_reason_of_the_door(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"<svg/>")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    names = ("a.jpg", "folder", "pipe", "x" * 5_000)
    report = import_native(desk, write(tmp_path, *[{"caption": "A", "image": name} for name in names]))
    assert [bad.line for bad in report.bad] == [1, 2, 3, 4]
    assert "SVG drawing" in report.bad[0].reason
    assert "is not a file" in report.bad[1].reason
    assert "is not a file" in report.bad[2].reason
    assert len(report.bad[3].reason) < 200


def test_a_case_whose_picture_is_missing_is_kept_counted_and_completed_later(
    desk: Desk, tmp_path: Path, picture: Picture
) -> None:
    path = write(tmp_path, {"id": 1, "caption": "A", "image": "a.jpg"}, {"id": 2, "caption": "B"})
    report = import_native(desk, path)
    assert (report.cases, report.without_image, report.bad) == (2, 2, [])
    assert [view.image_sha256 for view in views(desk)] == [None, None]
    (tmp_path / "a.jpg").write_bytes(picture())
    report = import_native(desk, path)
    assert (report.cases, report.completed, report.unchanged, report.without_image) == (0, 1, 1, 1)
    assert [view.image_sha256 is None for view in views(desk)] == [False, True]


def test_everything_a_line_may_say_arrives(desk: Desk, tmp_path: Path, picture: Picture) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(picture())
    line = {
        "id": 17,
        "image": "in/a.jpg",
        "caption": " Café «A» ",
        "gold": "out_of_context",
        "split": "validation",
        "group": "g",
        "source": "s",
        "url": "javascript:alert(1)",
        "date": 1973,
        "place": "p",
        "note": "n",
        "evidence": [{"kind": "image", "title": "t", "url": "u", "date": "d", "text": "x"}],
        "opinions": [
            {
                "teacher": "T",
                "verdict": "unsure",
                "rationale": "r",
                "confidence": 0.5,
                "elements": ["place", "other"],
            }
        ],
        "credit": "left alone",
    }
    report = import_native(desk, write(tmp_path, line), name="mine")
    assert (report.dataset, report.cases, report.opinions, report.without_image) == ("mine", 1, 1, 0)
    (case,) = views(desk)
    assert (case.dataset, case.external_id, case.caption, case.gold) == (
        "mine",
        "17",
        "Café «A»",
        Verdict.OUT_OF_CONTEXT,
    )
    assert (case.split, case.group, case.source, case.url) == (
        Split.VALIDATION,
        "g",
        "s",
        "javascript:alert(1)",
    )
    assert (case.date, case.place, case.image_sha256 is not None) == ("1973", "p", True)
    assert (case.evidence[0].title, case.evidence[0].text) == ("t", "x")
    assert (case.opinions[0].teacher, case.opinions[0].verdict) == ("T", Answer.UNSURE)
    assert (case.opinions[0].rationale, case.opinions[0].confidence) == ("r", 0.5)
    assert list(case.opinions[0].elements or ()) == ["place", "other"]
    assert case.note == "n"


def test_importing_again_changes_nothing_and_a_changed_opinion_is_a_new_version(
    desk: Desk, tmp_path: Path, picture: Picture
) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())

    def line(verdict: str) -> dict[str, object]:
        opinions = [{"teacher": "S", "verdict": "in_context"}, {"teacher": "T", "verdict": verdict}]
        return {"caption": "A", "image": "a.jpg", "opinions": opinions}

    assert import_native(desk, write(tmp_path, line("in_context"))).opinions == 2
    again = import_native(desk, write(tmp_path, line("in_context")))
    assert (again.cases, again.opinions, again.unchanged) == (0, 0, 1)
    assert count(desk, Queued) == 0
    changed = import_native(desk, write(tmp_path, line("out_of_context")))
    assert (changed.cases, changed.opinions, changed.unchanged) == (0, 1, 0)
    assert (count(desk, Case), count(desk, Opinion), count(desk, Queued)) == (1, 3, 1)


def test_a_split_is_for_the_cases_that_name_none(desk: Desk, tmp_path: Path) -> None:
    path = write(tmp_path, {"caption": "A"}, {"caption": "B", "split": "validation"})
    import_native(desk, path, split=Split.TEST)
    assert [view.split for view in views(desk)] == [Split.TEST, Split.VALIDATION]


def test_blank_lines_a_byte_order_mark_and_windows_line_ends_are_fine(desk: Desk, tmp_path: Path) -> None:
    path = write(
        tmp_path, b'\xef\xbb\xbf{"caption": "A"}\r', b"\r", b"", b'{"caption": "B\xe2\x80\xa8C"}\r', b"{"
    )
    report = import_native(desk, path)
    assert [view.caption for view in views(desk)] == ["A", "B\u2028C"]
    assert [bad.line for bad in report.bad] == [5]


def test_csv_says_the_same_with_nested_columns_as_json(desk: Desk, tmp_path: Path, picture: Picture) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    opinions = json.dumps([{"teacher": "T", "verdict": "in_context", "confidence": 0.5}])
    with (tmp_path / "cases.csv").open("w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["", "id", "image", "caption", "gold", "opinions", "place"])
        rows.writerow(["0", "1", "a.jpg", 'Two\nlines, "quoted"', "in_context", opinions, ""])
        rows.writerow(["1", "2", "", "=1+1", "", "", "Rome"])
        rows.writerow(["2", "3", "", "A", "", "[", ""])
        rows.writerow(["3", "4", "", "A", "", "", "", "one too many"])
    report = import_native(desk, tmp_path / "cases.csv")
    first, second = views(desk)
    assert (first.caption, first.gold, first.opinions[0].confidence) == (
        'Two\nlines, "quoted"',
        Verdict.IN_CONTEXT,
        0.5,
    )
    assert (second.caption, second.gold, second.place, second.opinions) == ("=1+1", None, "Rome", ())
    assert [(bad.line, bad.reason.split(" (")[0]) for bad in report.bad] == [
        (5, "`opinions` is not valid JSON"),
        (6, "it has more cells than the header has columns"),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_with_semicolons_or_tabs_says_the_same(delimiter: str, desk: Desk, tmp_path: Path) -> None:
    opinions = json.dumps([{"teacher": "T", "verdict": "in_context", "elements": []}])
    with (tmp_path / "cases.csv").open("w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerow(["id", "caption", "opinions"])
        rows.writerow(["1", "A, B; C", opinions])
    assert import_native(desk, tmp_path / "cases.csv").opinions == 1
    assert [view.caption for view in views(desk)] == ["A, B; C"]


def test_captions_in_any_script_and_of_any_length_arrive_from_both_forms(desk: Desk, tmp_path: Path) -> None:
    captions = [
        "中文標題",
        "כותרת",
        "Заголовок",
        "😀👩‍👩‍👧",
        "x" * 100_000,
        "é" * 200_000,
        "\uff1dfull width",
    ]
    lines = write(tmp_path, *[{"caption": caption} for caption in captions])
    with (tmp_path / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["caption"], *([caption] for caption in captions)])
    assert import_native(desk, lines).cases == len(captions)
    assert [view.caption for view in views(desk)] == captions
    again = import_native(desk, tmp_path / "cases.csv")
    assert (again.cases, again.unchanged) == (0, len(captions))


def test_a_json_list_is_read_like_lines(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text('[{"caption": "A"}, {"caption": 5}, {}, {"caption": "B"}]')
    report = import_native(desk, path)
    assert (report.cases, [bad.line for bad in report.bad]) == (3, [3])


def test_cells_that_no_spreadsheet_runs_are_read_as_they_were(desk: Desk, tmp_path: Path) -> None:
    import_native(desk, write(tmp_path, "id,caption", "1,'=1+1", "2,''=1", "3,'tis", name="cases.csv"))
    assert [view.caption for view in views(desk)] == ["=1+1", "'=1", "'tis"]


def test_broken_quoting_in_csv_costs_its_line_only(desk: Desk, tmp_path: Path) -> None:
    report = import_native(desk, write(tmp_path, "id,caption", '1,"A"B', "2,C", name="cases.csv"))
    assert [view.caption for view in views(desk)] == ["C"]
    assert [(bad.line, "not valid CSV" in bad.reason) for bad in report.bad] == [(2, True)]


def test_an_import_that_dies_has_whole_batches_and_goes_on(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 10)
    path = write(tmp_path, *[{"id": number, "caption": f"Caption {number}"} for number in range(35)])

    class DiskFullError(Exception):
        """What the progress bar of this test raises."""

    def die(lines: int, share: float) -> None:
        if lines == 20:
            raise DiskFullError

    with pytest.raises(DiskFullError):
        import_native(desk, path, progress=die)
    assert count(desk, Case) == 20
    report = import_native(desk, path)
    assert (report.cases, report.unchanged, count(desk, Case)) == (15, 20, 35)


def test_progress_ends_at_the_whole_file(desk: Desk, tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    path = write(tmp_path, *[{"id": number, "caption": "A"} for number in range(1_200)])
    import_native(desk, path, progress=lambda lines, share: seen.append((lines, share)))
    assert [lines for lines, _ in seen] == [1_000, 1_200]
    assert seen[-1][1] == 1.0
    assert sorted(seen) == seen


def test_the_real_photographs_come_in_once(desk: Desk, photographs: Path) -> None:
    first = import_native(desk, photographs, name="documerica")
    assert (first.cases, first.opinions, first.without_image, first.bad) == (74, 0, 0, [])
    assert count(desk, Image) == 37
    second = import_native(desk, photographs, name="documerica")
    assert (second.cases, second.unchanged, second.differing, second.bad) == (0, 74, 0, [])
    assert (count(desk, Case), count(desk, Image)) == (74, 37)
    stored = [path for path in desk.images_dir.rglob("*") if path.is_file()]
    assert len(stored) == 37
