"""The Croissant description of an exported `datasets` folder (mlcommons.org/croissant, version 1.0).

`mlcroissant.Dataset(PATH/croissant.json).records("cases")` reads the parquet files through it.
"""

import json
from datetime import UTC, datetime
from typing import Any, Final

from ooc_app.export.data_card import TITLE, Told
from ooc_app.export.hub_columns import COLUMNS, CROISSANT_TYPES, Column

FILES: Final = "parquet-files"
RECORDS: Final = "cases"

_OWN: Final = (
    *("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes"),
    *("equivalentProperty", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
    *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField"),
    "transform",
)
_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{word: f"cr:{word}" for word in _OWN},
}


def croissant(told: Told) -> str:
    """Write the whole of croissant.json."""
    today = datetime.now(UTC).date().isoformat()
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "ooc-desk-export",
        "description": f"{TITLE}: {told.cases.total()} cases, with verdicts in context or out of context.",
        "keywords": ["news", "misinformation", "out-of-context"],
        "license": "Those of the sources of pictures and captions; none is given here.",
        "citeAs": f"Cases exported from OOC Desk on {today}.",
        "datePublished": today,
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": FILES,
                "name": FILES,
                "description": "All cases, one or more files for each split.",
                "encodingFormat": "application/x-parquet",
                "includes": "data/*.parquet",
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": RECORDS,
                "name": RECORDS,
                "description": "One record per case.",
                "key": [{"@id": f"{RECORDS}/dataset"}, {"@id": f"{RECORDS}/id"}],
                "field": [_field(column) for column in COLUMNS],
            }
        ],
    }
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _field(column: Column) -> dict[str, Any]:
    name = f"{RECORDS}/{column.name}"
    described: dict[str, Any] = {"@type": "cr:Field", "@id": name, "name": name, "description": column.about}
    if column.parts:
        parts = [_part(name, column, part) for part in column.parts]
        return {**described, "repeated": True, "subField": parts}
    source = _source(column)
    if column.kind == "image":
        source["transform"] = {"jsonPath": "bytes"}
    return {**described, "dataType": CROISSANT_TYPES[column.kind], "source": source}


def _part(parent: str, column: Column, part: Column) -> dict[str, Any]:
    name = f"{parent}/{part.name}"
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": name,
        "name": name,
        "description": part.about,
        "dataType": CROISSANT_TYPES[part.kind],
        "source": {**_source(column), "transform": {"jsonPath": part.name}},
    }
    return {**described, "repeated": True} if part.several else described


def _source(column: Column) -> dict[str, Any]:
    return {"fileSet": {"@id": FILES}, "extract": {"column": column.name}}
