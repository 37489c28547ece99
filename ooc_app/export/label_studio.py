"""Write tasks for Label Studio: a JSON array, and the labelling interface that shows them.

Each teacher's opinion is a prediction with the teacher as its model version, each current ruling an
annotation. An annotation names nobody: Label Studio refuses tasks whose `completed_by` is no member
of the project, so it takes the person who imports; who ruled stands in the result's `meta`.

Pictures are the shown copies as paths for Label Studio's local files (`/data/local-files/?d=...`),
below the folder that LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT has to name.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from db.views import OpinionView, RulingView, WholeCase
from db.vocabulary import Answer, Element
from ooc_app.export.json_files import write_array
from ooc_app.export.manner import Manner
from ooc_app.export.native import evidence

LOCAL_FILES: Final = "/data/local-files/?d="
SHOWN: Final = "caption"  # what every control is about: the one thing that every case has


def write_label_studio(cases: Iterable[WholeCase], path: Path, manner: Manner) -> int:
    """Write one task per case."""
    return write_array(path, (_task(case, manner) for case in cases))


def labelling_interface() -> str:
    """Write the interface's XML, whose control names the results use."""
    choices = "".join(f'\n    <Choice value="{answer}"/>' for answer in Answer)
    elements = "".join(f'\n    <Choice value="{element}"/>' for element in Element)
    return f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <Text name="caption" value="$caption"/>
  <Text name="date" value="$date"/>
  <Text name="place" value="$place"/>
  <Text name="source" value="$source"/>
  <Choices name="verdict" toName="{SHOWN}" choice="single-radio" required="true">{choices}
  </Choices>
  <Choices name="elements" toName="{SHOWN}" choice="multiple">{elements}
  </Choices>
  <TextArea name="rationale" toName="{SHOWN}" maxSubmissions="1" editable="true" rows="4"/>
  <Number name="confidence" toName="{SHOWN}" min="0" max="1" step="0.01"/>
  <TextArea name="note" toName="{SHOWN}" maxSubmissions="1" editable="true"/>
</View>
"""


def _task(case: WholeCase, manner: Manner) -> dict[str, Any]:
    view = case.view
    name = manner.pictures.shown(view.image_sha256)
    data = {
        "image": f"{LOCAL_FILES}{name}" if name else "",  # empty and not null: the interface asks for it
        "caption": view.caption,
        "date": view.date or "",
        "place": view.place or "",
        "source": view.source or "",
        "case_id": view.id,
        "dataset": view.dataset,
        "external_id": view.external_id,
        "gold": view.gold,
        "settled": case.settled,
        "split": view.split,
        "group": view.group,
        "url": view.url,
        "note": view.note,
        "evidence": evidence(view),
    }
    return {
        "id": view.id,
        "data": data,
        "predictions": [_prediction(opinion) for opinion in view.opinions],
        "annotations": [_annotation(ruling, manner) for ruling in case.rulings],
    }


def _prediction(opinion: OpinionView) -> dict[str, Any]:
    result = _result(opinion.verdict, opinion.rationale, opinion.elements or ())
    prediction: dict[str, Any] = {"model_version": opinion.teacher, "result": result}
    if opinion.confidence is not None:
        prediction["score"] = opinion.confidence
        result.append(_answer("confidence", "number", "number", opinion.confidence))
    return prediction


def _annotation(ruling: RulingView, manner: Manner) -> dict[str, Any]:
    result = _result(ruling.verdict, ruling.rationale or "", ruling.elements)
    result[0]["meta"] = {"annotator": manner.annotator(ruling), "picked": ruling.picked_teacher or ""}
    if ruling.note:
        result.append(_answer("note", "textarea", "text", [ruling.note]))
    return {
        "id": ruling.id,
        "result": result,
        "lead_time": ruling.seconds,
        "was_cancelled": False,
        "ground_truth": ruling.settles,
        "created_at": ruling.created_at.isoformat(),
    }


def _result(verdict: Answer, rationale: str, elements: Iterable[Element]) -> list[dict[str, Any]]:
    result = [_answer("verdict", "choices", "choices", [verdict])]
    if rationale:
        result.append(_answer("rationale", "textarea", "text", [rationale]))
    if named := list(elements):
        result.append(_answer("elements", "choices", "choices", named))
    return result


def _answer(control: str, kind: str, key: str, value: Any) -> dict[str, Any]:
    return {"id": control, "from_name": control, "to_name": SHOWN, "type": kind, "value": {key: value}}
