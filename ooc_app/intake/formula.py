"""Cells that a spreadsheet would run, written so that it shows them, and read back as they were.

A cell that begins with = + - @, their full-width forms, tab, CR or LF is a formula to one spreadsheet
or another; an apostrophe before it makes it text. So that reading takes away exactly what writing put
there, a cell that begins with apostrophes and then such a character gets one more. All other cells,
'tis among them, are the same both ways.
"""

import re
from typing import Final

_RUN: Final = re.compile("'*[=+\\-@＝＋－＠\t\r\n]")  # noqa: RUF001 - the full-width forms are meant


def shown_as_text(cell: str) -> str:
    """Write a cell so that no spreadsheet runs it."""
    return f"'{cell}" if _RUN.match(cell) else cell


def as_it_was(cell: str) -> str:
    """Read a cell that `shown_as_text` has written; one that another program wrote so, too."""
    return cell[1:] if cell.startswith("'") and _RUN.match(cell) else cell
