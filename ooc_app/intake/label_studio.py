"""Read Label Studio's JSON export, its own and the one the desk writes: a list of tasks.

    [{"data": {"image", "caption", ...}, "predictions": [{"model_version", "score", "result": [...]}],
      "annotations": [{"completed_by", "was_cancelled", "result": [...]}]}]

`data` is the case: the fields stand under their own names, `id` under `external_id`, unless the
mapping says otherwise. Each prediction is an opinion, its `model_version` the teacher; in its result
the control `verdict` is a choice, `rationale` a text and `elements` choices (the mapping may name
other controls). Polarity: the choices are the desk's own words, or what the mapping says they mean.

Annotations are people's. A ruling is made at the desk and is not read from files, so they are left,
or with `annotations=gold` give the gold verdict where all agree, or with `annotations=opinions` count
as opinions of a teacher named after the annotator.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from db.vocabulary import Answer, Split
from ooc_app.intake.entries import BadCaseError, Entry, Made, Source, entries
from ooc_app.intake.fields import confidence, objects, opinion, text
from ooc_app.intake.mapping import CASE_FIELDS, Column, case_row, parse_mapping
from ooc_app.intake.native import native_case
from ooc_app.intake.pictures import local_path
from ooc_app.intake.rows import json_rows

CONTROLS: Final = ("verdict", "rationale", "elements")
DEFAULTS: Final = {
    **{name: Column(name) for name in (*CASE_FIELDS, *CONTROLS) if name not in ("id", "opinions")},
    "id": Column("external_id"),
}
LOCAL_FILES: Final = "/data/local-files/"  # how Label Studio serves a folder: ?d=path/in/it
MAPPING = {
    "id": "`data.external_id`",
    **{name: f"`data.{name}`" for name in CASE_FIELDS if name not in ("id", "opinions")},
    "data set": "`data.dataset`, unless one is given for all, else the file's name",
    "opinions": "`predictions`: teacher = `model_version`, verdict and rationale from their controls, "
    "confidence = `score` where it is from 0 to 1",
}


def read(source: Source) -> Iterator[Entry]:
    """Read the tasks of a file."""
    columns = {**DEFAULTS, **parse_mapping(source.options.get("map"), tuple(DEFAULTS))}
    split = source.split or Split.TRAIN
    people = source.options.get("annotations", "leave")
    tasks = json_rows(source.path)
    return entries(
        tasks, lambda task: [task_case(task, columns, split, people, named=source.dataset is None)]
    )


def task_case(
    task: dict[str, Any], columns: Mapping[str, Column], split: Split, people: str, *, named: bool
) -> Made:
    """Make the case of one task; `named`: it goes to the data set that it names itself."""
    data = task.get("data")
    if not isinstance(data, dict):
        raise BadCaseError("`data` is not an object: export as JSON, not as JSON-MIN")
    controls = {name: columns[name] for name in CONTROLS}
    row = case_row(data, {name: column for name, column in columns.items() if name not in CONTROLS})
    said = [said_by(one, teacher_of(one), controls) for one in objects(task, "predictions")]
    annotated = [one for one in objects(task, "annotations") if one.get("was_cancelled") is not True]
    if people == "opinions":
        said += [said_by(one, annotator_of(one), controls) for one in annotated]
    row["opinions"] = list({one["teacher"]: one for one in said}.values())  # the last of each counts
    if people == "gold" and (verdict := agreed(annotated, controls)):
        row["gold"] = verdict
    return Made(native_case(row, split), image_of(row), text(data, "dataset") if named else None)


def said_by(one: Mapping[str, Any], teacher: str, controls: Mapping[str, Column]) -> dict[str, Any]:
    """Return a prediction or annotation as an opinion of the native format."""
    answers = {str(item.get("from_name")): answer_of(item) for item in objects(one, "result")}
    row = {name: column.value(answers) for name, column in controls.items()}
    if isinstance(row["verdict"], list):
        if len(row["verdict"]) > 1:
            raise BadCaseError(f"{teacher[:80]!r} chose several of `{controls['verdict'].name}`")
        row["verdict"] = row["verdict"][0] if row["verdict"] else None
    if isinstance(row["rationale"], list):
        row["rationale"] = "\n".join(str(line) for line in row["rationale"])
    return {"teacher": teacher, **row, "confidence": score_of(one)}


def answer_of(item: Mapping[str, Any]) -> Any:
    """Return what one control says: a list of choices, or of texts."""
    value = item.get("value")
    if not isinstance(value, dict):
        return None
    answer = value.get("choices", value.get("text"))
    return [answer] if isinstance(answer, str) else answer


def score_of(one: Mapping[str, Any]) -> float | None:
    """Return the score where it can be a confidence; Label Studio asks for no range."""
    try:
        return confidence({"confidence": one.get("score")})
    except BadCaseError:
        return None


def teacher_of(prediction: Mapping[str, Any]) -> str:
    """Name the teacher of a prediction."""
    name = text(prediction, "model_version")
    if name is None:
        raise BadCaseError("a prediction has no `model_version`, so its teacher is unknown")
    return name


def annotator_of(annotation: Mapping[str, Any]) -> str:
    """Name the person of an annotation, as Label Studio or as the desk's export tells it."""
    who = annotation.get("completed_by")
    for item in objects(annotation, "result"):
        if isinstance(item.get("meta"), dict) and (name := text(item["meta"], "annotator")):
            return f"annotator {name}" if name.isdecimal() else name
    if isinstance(who, dict):
        return text(who, "email") or f"annotator {text(who, 'id')}"
    name = text(annotation, "completed_by")
    if name is None:
        raise BadCaseError("an annotation has no `completed_by`")
    return f"annotator {name}" if name.isdecimal() else name


def agreed(annotations: list[dict[str, Any]], controls: Mapping[str, Column]) -> str | None:
    """Return the verdict that all annotators give, None where they differ or one is unsure."""
    said = {opinion(said_by(one, "an annotator", controls)).verdict for one in annotations}
    verdict = said.pop() if len(said) == 1 else None
    return None if verdict is None or verdict is Answer.UNSURE else verdict.value


def image_of(row: Mapping[str, Any]) -> str | None:
    """Return the path of the picture, None where there is none on this machine."""
    image = local_path(text(row, "image"))
    if image is not None and image.startswith(LOCAL_FILES):
        return next(iter(parse_qs(urlsplit(image).query).get("d", ())), None)
    return image
