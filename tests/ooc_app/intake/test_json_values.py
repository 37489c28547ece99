import io
import json
import random
import tracemalloc
from typing import Any

import pytest

from ooc_app.intake import json_values
from ooc_app.intake.json_values import Scanner


def cut(data: bytes, key: str | None = None, value_max: int = 1_000_000) -> tuple[list[bytes], str]:
    """Every entry of the list, and why there are no more."""
    scanner = Scanner(io.BytesIO(data), value_max)
    assert scanner.enter(key), "there is no list"
    entries = []
    while (entry := scanner.entry()) is not None:
        entries.append(entry)
    return entries, scanner.damage


def test_what_is_no_list_is_not_entered() -> None:
    for data in (
        b"",
        b" ",
        b"{",
        b"1",
        b'"a"',
        b'{"a": 1}',
        b'{"a": [1}',
        b'{"other": []}',
        b'{"annotations": 1}',
    ):
        assert not Scanner(io.BytesIO(data), 100).enter("annotations"), data
    assert not Scanner(io.BytesIO(b'{"annotations": []}'), 100).enter(None)


@pytest.mark.parametrize(
    ("data", "entries"),
    [
        (b'[{"a": 1}', [b'{"a": 1}']),
        (b'[{"a": 1}, ', [b'{"a": 1}']),
        (b'[{"a": 1}, {"b"', [b'{"a": 1}']),
        (b'[{"a": 1}, {"b": "c}]', [b'{"a": 1}']),
        (b'[{"a": 1}, "b', [b'{"a": 1}']),
        (b'[{"a": 1}, 12', [b'{"a": 1}']),
        (b'[{"a": 1} }', [b'{"a": 1}']),
        (b"[", []),
        (b'[]\n{"a": 1}', []),
        (b'[{"a": 1}]]', [b'{"a": 1}']),
    ],
)
def test_a_list_without_its_end_gives_what_it_has_and_says_so(data: bytes, entries: list[bytes]) -> None:
    found, damage = cut(data)
    assert found == entries
    assert damage


def test_a_hundred_thousand_open_brackets_cost_next_to_nothing() -> None:
    tracemalloc.start()
    found, damage = cut(b"[" * 100_000)
    assert (found, "does not end" in damage) == ([], True)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_an_entry_longer_than_allowed_ends_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "CHUNK", 64)
    found, damage = cut(b'[{"a": 1}, {"b": "' + b"x" * 5_000 + b'"}, {"c": 1}]', value_max=1_000)
    assert found == [b'{"a": 1}']
    assert "1,000 bytes" in damage


def test_broken_bytes_and_broken_values_stay_in_their_entry() -> None:
    data = b'[{"a": "caf\xe9"}, {"b": NaN}, tru, {"c": }, 1.5, "d", null, [1, {"e": []}], {"f": "}\\"]["}]'
    assert cut(data) == (
        [
            b'{"a": "caf\xe9"}',
            b'{"b": NaN}',
            b"tru",
            b'{"c": }',
            b"1.5",
            b'"d"',
            b"null",
            b'[1, {"e": []}]',
            b'{"f": "}\\"]["}',
        ],
        "",
    )


def test_the_list_of_a_key_is_found_behind_other_values() -> None:
    before = b'\n{"n": 1, "names": ["annotations", {"annotations": [9]}], "s": "annotations\\"", '
    data = before + b'"annotations": [{}, {"a": 1}], "z": 2}'
    assert cut(data, "annotations") == ([b"{}", b'{"a": 1}'], "")


def test_a_value_passed_over_is_not_held() -> None:
    names = json.dumps(["x" * 90] * 200_000).encode()
    data = b'{"names": ' + names + b', "annotations": [{"a": 1}]}'
    file = io.BytesIO(data)
    tracemalloc.start()
    scanner = Scanner(file, 1_000)
    assert scanner.enter("annotations")
    assert scanner.entry() == b'{"a": 1}'
    assert tracemalloc.get_traced_memory()[1] < 6 * json_values.CHUNK < len(data)
    tracemalloc.stop()


def drawn(draw: random.Random, depth: int = 0) -> Any:
    """Any JSON value, with all the characters that matter in its texts."""
    kind = draw.randrange(4 if depth > 3 else 6)
    if kind < 2:
        return "".join(draw.choice('ab"\\[]{},: \n\té漢😀') for _ in range(draw.randrange(12)))
    if kind == 2:
        return draw.choice([0, -1, 1.5, 1e-9, 10**18])
    if kind == 3:
        return draw.choice([None, True, False])
    if kind == 4:
        return [drawn(draw, depth + 1) for _ in range(draw.randrange(4))]
    return {str(drawn(draw, 9)): drawn(draw, depth + 1) for _ in range(draw.randrange(4))}


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_any_list_however_written_and_read_is_cut_into_its_entries(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_values, "CHUNK", chunk)
    draw = random.Random(chunk)
    for _ in range(150):
        values = [drawn(draw) for _ in range(draw.randrange(6))]
        written = json.dumps(values, indent=draw.choice([None, 1]), ensure_ascii=draw.random() < 0.5).encode()
        entries, damage = cut(written)
        assert ([json.loads(entry) for entry in entries], damage) == (values, "")
