import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from db.views import Selection, whole_cases
from ooc_app.desk import Desk
from ooc_app.export.exporting import export_cases
from ooc_app.export.label_studio import labelling_interface


def sdk(module: str) -> Any:
    """Import a part of the SDK, which uses pydantic's and pandas' old names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"label_studio_sdk.{module}")


@pytest.fixture
def tasks(full_desk: Desk, tmp_path: Path) -> list[dict[str, Any]]:
    """Give the tasks as Label Studio would read them."""
    export_cases(full_desk, "label-studio", tmp_path / "tasks.json")
    read: list[dict[str, Any]] = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    return read


def test_label_studio_accepts_the_interface_and_every_task(
    tasks: list[dict[str, Any]], tmp_path: Path
) -> None:
    config = (tmp_path / "tasks.config.xml").read_text(encoding="utf-8")
    assert config == labelling_interface()
    interface = sdk("label_interface.interface").LabelInterface(config)
    interface.validate()
    for task in tasks:
        assert interface.validate_task({"data": task["data"]}), task["data"]["external_id"]
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction, return_errors=True) == []
        assert all(interface.validate_annotation(annotation) for annotation in task["annotations"])


def test_tasks_say_what_the_desk_knows(tasks: list[dict[str, Any]], full_desk: Desk) -> None:
    with full_desk.sessions() as session:
        cases = list(whole_cases(session, Selection()))
    assert len(tasks) == len(cases)
    for task, case in zip(tasks, cases, strict=True):
        data, view = task["data"], case.view
        assert (data["caption"], data["external_id"], data["case_id"]) == (
            view.caption,
            view.external_id,
            view.id,
        )
        assert [one["model_version"] for one in task["predictions"]] == [
            said.teacher for said in view.opinions
        ]
        assert [one["score"] for one in task["predictions"] if "score" in one] == [
            said.confidence for said in view.opinions if said.confidence is not None
        ]
        assert [one["lead_time"] for one in task["annotations"]] == [one.seconds for one in case.rulings]
        assert data["image"].startswith("/data/local-files/?d=") == (view.image_sha256 is not None)


def test_the_pictures_are_where_the_tasks_say(full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, "label-studio", tmp_path / "tasks.json", images_dir=tmp_path / "served")
    tasks = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    named = {task["data"]["image"].partition("?d=")[2] for task in tasks} - {""}
    assert len(named) == 6
    assert all((tmp_path / "served" / name).is_file() for name in named)


def test_the_sdk_converts_rulings_as_people_gave_them(tasks: list[dict[str, Any]], tmp_path: Path) -> None:
    make = sdk("converter.converter").Converter
    converter = make(labelling_interface(), project_dir=str(tmp_path), download_resources=False)
    converter.convert_to_json_min(str(tmp_path / "tasks.json"), str(tmp_path / "min"), is_dir=False)
    rows = json.loads((tmp_path / "min" / "result.json").read_text(encoding="utf-8"))
    ruled = [row for row in rows if "verdict" in row]
    assert sorted((row["external_id"], row["verdict"], row["elements"]) for row in ruled) == [
        ("conflict", "out_of_context", "place"),
        ("conflict", "out_of_context", "place"),
        ("second conflict", "in_context", "place"),
    ]
    assert [row["rationale"] for row in ruled if "rationale" in row] == [
        "The sign is in another language </script>."
    ]
    assert len(rows) == len(tasks) + 1  # one for each ruling, and each case nobody ruled on


def test_nobody_needs_the_sdk_to_export() -> None:
    code = "import sys, ooc_app.export.formats\n"
    code += "print({'label_studio_sdk', 'mlcroissant', 'pyarrow', 'datasets'} & sys.modules.keys())"
    project = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
