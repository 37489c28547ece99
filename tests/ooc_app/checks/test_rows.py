import io
import json
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from ooc_app.checks import archive, rows
from ooc_app.checks.archive import Archive
from ooc_app.checks.rows import Folder, Row, Uploaded, digest, opened, rows_of
from ooc_app.intake.entries import ImportFileError
from ooc_app.intake.pictures import BadImageError, MissingImageError
from tests.ooc_app.conftest import drawn_picture

TABLE = "image,caption,date,place,url\na.png,A flood.,1 May 2021,Norvik,https://wire.example/a\n"


def zipped(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def read(table: str | bytes, name: str = "table.csv", *, tmp_path: Path) -> list[Row]:
    path = tmp_path / name
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    return rows_of(opened(path))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("imgae,caption", "has no column `image`: rename `imgae` to it"),
        ("Picture,caption", "rename `Picture` to it"),
        ("image,Text", "has no column `caption`: rename `Text` to it"),
        ("a;b", "has no column `image` in its first line. A table has the columns image and caption"),
        ("image,image,caption", "two columns"),
    ],
)
def test_a_header_that_is_not_one_is_refused_with_what_is_expected(
    header: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ImportFileError, match=said):
        read(f"{header}\na.png,A flood.,x\n", tmp_path=tmp_path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"image,caption\n", "nothing to check"),
        (b"image,caption\n,A.\n", "Not one row can be asked about. Row 1: Line 2 names no image."),
        (b"image,caption\na.png,\n", "Not one row"),
        ("image,caption\na.png,A.\n".encode("utf-16")[:-1], "damaged UTF-16"),
        (b"image,caption\n" + b"a.png,A.\n" * 10_001, "more than 10,000 rows"),
    ],
)
def test_a_table_without_a_row_to_ask_is_refused_whole(table: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match=said):
        read(table, tmp_path=tmp_path)


def test_a_bad_row_says_why_and_the_others_are_read(tmp_path: Path) -> None:
    lines = [
        "a.png,Good.",
        "a.png,",
        ",A.",
        "a.png," + "x" * 2001,
        "a.png,b,c,d",
        "a.png,caf\udce9",
        "z.png,Z.",
    ]
    table = "image,caption\n" + "\n".join(lines) + "\n"
    found = read(table.encode("utf-8", "surrogateescape"), tmp_path=tmp_path)
    assert [row.number for row in found if row.refused is None] == [1, 7]
    reasons = [row.refused or "" for row in found if row.refused]
    for reason, part in zip(reasons, ["caption", "no image", "2,001", "cells", "UTF-8"], strict=True):
        assert part in reason


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_however_a_spreadsheet_saved_it(code: str, delimiter: str, tmp_path: Path) -> None:
    table = TABLE.replace(",", delimiter).replace("image", "Image").replace("caption", " CAPTION ")
    [row] = read(table.encode(code), tmp_path=tmp_path)
    assert row == Row(1, "a.png", "A flood.", "1 May 2021", "Norvik", "https://wire.example/a")


def test_json_lines_are_read_as_csv_is(tmp_path: Path) -> None:
    objects = [
        {"Image": "a.png", "caption": "A.", "place": "Norvik"},
        ["no object"],
        {"image": 3, "caption": None},
    ]
    table = "\n".join([*(json.dumps(one) for one in objects), "{damaged"])
    first, *bad = read(table, "table.jsonl", tmp_path=tmp_path)
    assert first == Row(1, "a.png", "A.", place="Norvik")
    assert [bool(row.refused) for row in bad] == [True] * 3


def test_a_caption_may_stand_in_a_text_beside_its_picture(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in/a.png", "in/b.JPG", "c.png"):
        (tmp_path / name).write_bytes(drawn_picture())
    (tmp_path / "in" / "a.txt").write_text("A flood.\n")
    (tmp_path / "in" / "b.txt").write_text("")
    found = rows_of(Folder(tmp_path))
    assert [(row.image, row.caption, bool(row.refused)) for row in found] == [
        ("c.png", "", True),
        ("in/a.png", "A flood.", False),
        ("in/b.JPG", "", True),
    ]


def test_a_folder_with_two_tables_or_none_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="nothing to check"):
        rows_of(Folder(tmp_path))
    for name in ("a.csv", "b.jsonl"):
        (tmp_path / name).write_text(TABLE)
    with pytest.raises(ImportFileError, match="2 tables"):
        rows_of(Folder(tmp_path))
    assert [row.image for row in rows_of(Folder(tmp_path), tmp_path / "a.csv")] == ["a.png"]
    with pytest.raises(ImportFileError, match="There is no file"):
        opened(tmp_path / "c.csv")


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(drawn_picture())
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    for name in ("../secret.png", "link.png", str(tmp_path / "secret.png")):
        with pytest.raises(BadImageError):
            Folder(tmp_path / "in").read(name, 1_000)
    assert Folder(tmp_path / "in").names() == []


# ---- archives ----


def test_what_is_no_archive_or_a_cut_one_is_refused(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", {"a.csv": TABLE, "a.png": drawn_picture()}).read_bytes()
    for data in (b"", b"no archive", whole[:-30], whole[:40] + whole[-22:]):
        (tmp_path / "cut.zip").write_bytes(data)
        with pytest.raises(ImportFileError, match="no whole zip archive"):
            Uploaded([("cut.zip", tmp_path / "cut.zip")])


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": b"x"})
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    with pytest.raises(ImportFileError, match="encrypted: pack it without"):
        Archive(path)


def test_too_many_entries_are_refused_before_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ENTRIES_MAX", 3)
    path = zipped(tmp_path / "a.zip", {f"{number}.png": b"" for number in range(4)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ImportFileError, match="more than 3 files"):
        Archive(path)


def test_a_long_list_of_entries_is_refused_by_its_size_whatever_number_it_states(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": b"x"})
    data = bytearray(path.read_bytes())
    data[-10:-6] = struct.pack("<L", archive.DIRECTORY_MAX + 1)
    path.write_bytes(data)
    with pytest.raises(ImportFileError, match="divide it"):
        Archive(path)
    locator = b"PK\x06\x07" + bytes(16)
    path.write_bytes(bytes(data[:-22]) + locator + bytes(data[-22:]))
    with pytest.raises(ImportFileError, match="divide it"):
        Archive(path)


def test_a_bomb_is_read_to_the_limit_and_a_header_that_lies_is_caught(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"bomb.png": bytes(5_000_000), "less.png": b"x" * 1_000})
    with pytest.raises(BadImageError, match="more than the 1 MB"):
        Archive(path).read("bomb.png", 1_000_000)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"less.png") - 46 + 24  # its size, in the list of entries
    for stated in (10, 2_000):
        data[at : at + 4] = struct.pack("<L", stated)
        path.write_bytes(data)
        with pytest.raises(BadImageError, match="damaged in the archive"):
            Archive(path).read("less.png", 1_000_000)


def test_entries_that_together_unpack_to_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "TOTAL_MAX", 10**6)
    with pytest.raises(ImportFileError, match="unpacks to more"):
        Archive(zipped(tmp_path / "a.zip", {"a.png": bytes(600_000), "b.png": bytes(600_000)}))


def test_a_way_of_packing_whose_reader_takes_no_limit_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as packed:
        packed.writestr("a.png", bytes(5_000_000))
    with pytest.raises(BadImageError, match="does not read"):
        Archive(tmp_path / "a.zip").read("a.png", 100)


def test_links_hidden_files_and_folders_of_an_archive_are_passed_over(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
        for name in ("__MACOSX/._a.png", ".DS_Store", "in/", "in/a.png"):
            packed.writestr(name, b"x")
    assert Archive(tmp_path / "a.zip").names == ["in/a.png"]


def test_a_name_that_leads_elsewhere_is_only_a_key(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"../../out.png": drawn_picture(), "/etc/in.png": b"x"})
    files = Uploaded([("a.zip", path)])
    assert files.read("../../out.png", 10_000) == drawn_picture()
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a.zip"]
    with pytest.raises(MissingImageError):
        files.read("a.zip", 10_000)


def test_a_picture_is_found_however_its_name_is_written(tmp_path: Path) -> None:
    given = {"week/Über.JPG": b"1", "week/b.png": b"2", "other/b.png": b"3", "x/only.png": b"4"}
    files = Uploaded([("a.zip", zipped(tmp_path / "a.zip", given)), ("loose.png", tmp_path / "a.zip")])
    asked = ("week/Über.JPG", ".\\week\\über.jpg", "U\u0308BER.jpg", "other/b.png", "only.png")
    assert [files.read(name, 100) for name in asked] == [b"1", b"1", b"1", b"3", b"4"]
    with pytest.raises(BadImageError, match="several files"):
        files.read("b.png", 100)
    with pytest.raises(MissingImageError):
        files.read("c.png", 100)


@pytest.mark.parametrize(
    ("name", "code"), [("süden.png", "utf-8"), ("süden.png", "cp1252"), ("洪水.png", "gb18030")]
)
def test_a_name_that_another_system_wrote_in_its_own_letters_is_found(
    name: str, code: str, tmp_path: Path
) -> None:
    stand_in = "x" * len(name.encode(code))
    data = zipped(tmp_path / "a.zip", {stand_in: b"1"}).read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(stand_in.encode(), name.encode(code)))
    assert Uploaded([("a.zip", tmp_path / "a.zip")]).read(name, 10) == b"1"


def test_an_archive_is_read_by_its_uppermost_table_and_an_inner_archive_is_not_opened(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("deep.csv", TABLE)
    given: dict[str, bytes | str] = {
        "week/table.csv": TABLE,
        "week/old/table.csv": "x",
        "in.zip": inner.getvalue(),
    }
    files = Uploaded([("a.zip", zipped(tmp_path / "a.zip", given))])
    assert [row.caption for row in rows_of(files)] == ["A flood."]
    assert "deep.csv" not in files.names()


def test_the_same_rows_and_pictures_have_one_digest_and_anything_else_another(tmp_path: Path) -> None:
    def hashed(name: str, table: str, picture: bytes, *, verdicts_only: bool = False) -> str:
        path = zipped(tmp_path / name, {"t.csv": table, "a.png": picture})
        files = Uploaded([(name, path)])
        return digest(rows_of(files), files, verdicts_only=verdicts_only)

    first = hashed("one.zip", TABLE, b"1")
    assert hashed("two.zip", TABLE.replace(",", ";"), b"1") == first
    others = [
        hashed("a.zip", TABLE, b"2"),
        hashed("b.zip", TABLE.replace("flood", "fire"), b"1"),
        hashed("c.zip", TABLE, b"1", verdicts_only=True),
    ]
    assert len({first, *others}) == 4


def test_a_folder_with_very_many_files_and_no_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ENTRIES_MAX", 2)
    for number in range(3):
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(ImportFileError, match="put a table into it"):
        rows_of(Folder(tmp_path))
