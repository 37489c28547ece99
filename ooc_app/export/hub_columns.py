"""The columns of an exported `datasets` folder, and how each format it is told in names their types.

One list for parquet, for `datasets`, for the data card and for Croissant, so that the four agree.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow

CROISSANT_TYPES: Final = {
    "string": "sc:Text",
    "float64": "sc:Float",
    "bool": "sc:Boolean",
    "image": "sc:ImageObject",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column, or a field of the objects in one."""

    name: str
    about: str
    kind: str = "string"
    several: bool = False  # a list of such values
    parts: tuple["Column", ...] = ()  # a list of objects with these fields; `kind` then means nothing

    def arrow(self) -> "pyarrow.DataType":
        """The type in parquet."""
        import pyarrow

        if self.parts:
            return pyarrow.list_(pyarrow.struct([(part.name, part.arrow()) for part in self.parts]))
        if self.kind == "image":
            return pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        single = {"string": pyarrow.string, "float64": pyarrow.float64, "bool": pyarrow.bool_}[self.kind]()
        return pyarrow.list_(single) if self.several else single

    def feature(self) -> dict[str, Any]:
        """The type as `datasets` writes it into parquet."""
        if self.parts:
            return {"feature": {part.name: part.feature() for part in self.parts}, "_type": "List"}
        if self.kind == "image":
            return {"_type": "Image"}
        single = {"dtype": self.kind, "_type": "Value"}
        return {"feature": single, "_type": "List"} if self.several else single

    def card(self) -> dict[str, Any]:
        """The type as a data card has it."""
        if self.parts:
            return {"name": self.name, "list": [part.card() for part in self.parts]}
        return {"name": self.name, "list" if self.several else "dtype": self.kind}


_ELEMENTS: Final = "What does not fit: person, place, time, event, object, other."
COLUMNS: Final = (
    Column("id", "Id of the case in its data set."),
    Column("image", "The picture's original bytes; its path is their SHA-256.", "image"),
    Column("caption", "The caption the picture was found under."),
    Column("gold", "The data set's own verdict: in_context or out_of_context."),
    Column("split", "train, validation or test."),
    Column("group", "Cases that share a caption or a picture have the same."),
    Column("source", "Where it was published."),
    Column("url", "Address it was found at."),
    Column("date", "Date that the caption claims, in the source's own wording."),
    Column("place", "Place that the caption claims."),
    Column("note", "For people; never model input."),
    Column("dataset", "Data set the case is from."),
    Column(
        "settled", "The human verdict: in_context or out_of_context; null where people have not settled it."
    ),
    Column(
        "evidence",
        "Text found on the web with the picture or the caption.",
        parts=(
            Column("kind", "image or caption: what it was found by."),
            Column("title", "Its title."),
            Column("url", "Its address."),
            Column("date", "Its date."),
            Column("text", "Its text."),
        ),
    ),
    Column(
        "opinions",
        "What each teacher model says.",
        parts=(
            Column("teacher", "Name of the teacher."),
            Column("verdict", "in_context, out_of_context or unsure."),
            Column("rationale", "Its reasons."),
            Column("confidence", "0 to 1; null where it gave none.", "float64"),
            Column("elements", _ELEMENTS, several=True),
        ),
    ),
    Column(
        "rulings",
        "What each annotator answered.",
        parts=(
            Column("annotator", "Who ruled."),
            Column("verdict", "in_context, out_of_context or unsure."),
            Column("rationale", "The annotator's own reasons; null where there are none."),
            Column("picked", "The teacher whose rationale was picked as best."),
            Column("elements", _ELEMENTS, several=True),
            Column("note", "A note."),
            Column("flagged", "Marked for attention.", "bool"),
            Column("seconds", "From the case on screen to the ruling.", "float64"),
            Column("rushed", "Faster than two rationales can be read.", "bool"),
            Column("settles", "An adjudicator's answer to split rulings.", "bool"),
            Column("at", "When, ISO 8601."),
        ),
    ),
)
