"""Cut a JSON list into its entries without reading them.

A parser that reads the list as a whole stops at the first broken byte, and the usual streaming one
(ijson) builds a path of every open bracket, so that 100 kB of brackets take all memory there is.
Here only strings and brackets are told apart, an entry's bytes are handed out whole, and what is
wrong with one entry is that entry's alone.
"""

import json
import re
from typing import BinaryIO, Final

CHUNK: Final = 1 << 18  # bytes read at once, at least

_BETWEEN = re.compile(rb"[\s,]*+")
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+', re.DOTALL)
_PLAIN = re.compile(rb"(?:" + _STRING + rb'|[^\[\]{}",\s]++)(?=[\s,\]}])', re.DOTALL)
_KEY = re.compile(rb"(" + _STRING + rb")\s*+:\s*+(?=\S)", re.DOTALL)


class Scanner:
    """Stands in a JSON file and hands out one value after the other."""

    def __init__(self, file: BinaryIO, value_max: int) -> None:
        self.damage = ""  # why there are no more entries, where the list does not end as it should
        self._file = file
        self._is_whole_file = False
        self._value_max = value_max  # bytes of one value
        self._data = b""
        self._at = 0  # what is before it in `_data` has been handed out
        self._before = file.tell()  # of the file, before `_data`

    @property
    def position(self) -> int:
        """How many bytes of the file have been handed out or passed over."""
        return self._before + self._at

    def enter(self, key: str | None) -> bool:
        """Go to the first entry of the list; tell whether there is one.

        The list is the next value, or the one under `key` of the object that is the next value.
        """
        opening = self._next()
        self._at += 1
        self._is_whole_file = key is None
        if key is None:
            return opening == b"["
        if opening != b"{":
            return False
        while self._next() == b'"':
            name = self._match(_KEY)
            if name == json.dumps(key).encode():
                found = self._next() == b"["
                self._at += 1
                return found
            if name is None or self._value(keep=False) is None:
                return False
        return False

    def entry(self) -> bytes | None:
        """Return the next entry, None after the last; `damage` then says whether that was the end."""
        following = self._next()
        if following == b"]":
            self._at += 1
            if self._is_whole_file and self._next():
                self.damage = "something follows the list: the file is more than one list"
            return None
        if following in (b"", b"}"):
            self.damage = "the list breaks off here: the file is damaged or not whole"
            return None
        value = self._value()
        if value is None:
            self.damage = (
                f"the entry does not end within {self._value_max:,} bytes: a bracket or a quotation mark is "
                "missing, here or before, and what follows cannot be read"
            )
        return value

    def _next(self) -> bytes:
        """Return the next byte that says something, without passing over it; nothing at the end."""
        while True:
            self._at = _end(_BETWEEN, self._data, self._at)
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            if not self._more():
                return b""

    def _value(self, *, keep: bool = True) -> bytes | None:
        """Pass over the next value and return it; None where it does not end, or is too long to keep."""
        if self._data[self._at : self._at + 1] not in (b"{", b"["):
            return self._match(_PLAIN)
        depth, reached = 0, self._at
        while True:
            reached = _end(_TO_BRACKET, self._data, reached)
            bracket = self._data[reached : reached + 1]
            if bracket in (b"", b'"'):  # the data ends here, or within a string
                if not keep:
                    self._at = reached
                reached -= self._at
                if len(self._data) - self._at > self._value_max or not self._more():
                    return None
                continue
            reached += 1
            depth += 1 if bracket in b"{[" else -1
            if depth == 0:
                value = self._data[self._at : reached] if keep else b""
                self._at = reached
                return value

    def _match(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """Pass over what matches and return it, or its group."""
        while (found := pattern.match(self._data, self._at)) is None:
            if len(self._data) - self._at > self._value_max or not self._more():
                return None
        self._at = found.end()
        return found[found.lastindex or 0]

    def _more(self) -> bool:
        """Read on, dropping what has been handed out; tell whether there was anything to read."""
        kept = self._data[self._at :]
        read = self._file.read(max(CHUNK, len(kept)))
        self._before += self._at
        self._data, self._at = kept + read, 0
        return bool(read)


def _end(pattern: re.Pattern[bytes], data: bytes, start: int) -> int:
    """Return where what matches from `start` ends, which may be nothing."""
    match = pattern.match(data, start)
    return match.end() if match else start
