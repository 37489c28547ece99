"""The languages of the page: every sentence stands in `assets/texts/`, one file for each language.

Handlers answer with the name of a sentence and what belongs into it (`sentence`), and the page puts
it into its reader's language: the browser's own, or the one picked there. A sentence that counts is
an object with the forms `one` and `other`.
"""

import json
from functools import cache
from typing import Any, Final

from ooc_app.theme import ASSETS

LANGUAGES: Final = ("en", "es", "zh")
Texts = dict[str, str | dict[str, str]]


def sentence(name: str, **values: Any) -> dict[str, Any]:
    """Say something by its name in `assets/texts/`, with the values that belong into it."""
    return {"key": f"says.{name}", **values}


@cache
def texts(language: str) -> Texts:
    """Return every text of a language by name. Raises FileNotFoundError for a language there is not."""
    read: Texts = json.loads((ASSETS / "texts" / f"{language}.json").read_text(encoding="utf-8"))
    return read


def speaking(*scripts: str) -> str:
    """Join scripts of `assets/`, with all texts and what picks among them before the first."""
    words = f"const TEXTS = {json.dumps({language: texts(language) for language in LANGUAGES})};"
    read = ((ASSETS / name).read_text(encoding="utf-8") for name in ("words.js", *scripts))
    return "\n".join([words, *read])
