"""The recipe: a frozen snapshot, stage 1, stage 2, evaluation, report.

Runs in a run folder and needs nothing else. Whatever is there already is not done again, so running
a folder that was stopped or killed goes on where it was: a stage's folder exists exactly when the
stage is complete, and `report.json` exactly when the run is.
"""

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from db.vocabulary import RunStatus, Split, Stage, Verdict
from training import report
from training.calibrate import fit_temperature
from training.config import DistilConfig, load_config
from training.evaluate import calibration, student_score, teacher_scores
from training.records import GoldCase, Preference, Target, read_records
from training.state import RunFolder, RunFolderError, write_whole

EVALUATION_BATCH = 64


def run(folder: RunFolder) -> dict[str, Any]:
    """Run or resume the folder to its end and return the report.

    Raises RunFolderError for a folder without snapshot or one that is being run, and StageStopped
    after a SIGTERM or Ctrl-C, once everything is saved. Any other failure is noted in `state.json`.
    """
    folder.check()
    with folder.locked():
        done = folder.report()
        if done is not None:
            return done
        stop = _stop_requested()
        folder.say(stage=None)
        try:
            return _Distillation(folder, stop).run()
        except Exception as error:
            _note_end(folder, error)
            raise


def _note_end(folder: RunFolder, error: Exception) -> None:
    from training.stage import StageStopped

    last = folder.state()
    stopped = isinstance(error, StageStopped)
    status = RunStatus.STOPPED if stopped else RunStatus.FAILED
    why = "stopped on request; everything is saved" if stopped else f"{type(error).__name__}: {error}"
    folder.say(status=status, stage=last.stage, step=last.step, steps=last.steps, why=why, path=last.path)


def _stop_requested() -> Callable[[], bool]:
    """Turn SIGTERM and SIGINT into a question the stages ask after every step."""
    asked = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: asked.set())
    return asked.is_set


@dataclass(frozen=True, slots=True)
class _Distillation:
    folder: RunFolder
    stop_requested: Callable[[], bool]

    def run(self) -> dict[str, Any]:
        config = load_config(self.folder.config_path)
        targets = read_records(self.folder.path / "sft.jsonl", Target)
        preferences = read_records(self.folder.path / "preferences.jsonl", Preference)
        if not targets:
            raise RunFolderError("The snapshot has no case with a target: import cases with opinions first.")
        self._stage(Stage.SFT, config, targets)
        if preferences:
            self._stage(Stage.DPO, config, preferences)
        return self._evaluate(config, bool(preferences))

    def _stage(self, stage: Stage, config: DistilConfig, records: list[Any]) -> None:
        if self.folder.adapter_dir(stage).is_dir():
            return
        from training import dpo, sft
        from training.stage import StageInputs, StageStopped

        if self.stop_requested():
            raise StageStopped
        self.folder.say(stage=stage)
        started = time.monotonic()
        try:
            {Stage.SFT: sft, Stage.DPO: dpo}[stage].run(
                StageInputs(self.folder, config, self.stop_requested), records
            )
        finally:
            self._add_seconds(stage.value, time.monotonic() - started)

    def _add_seconds(self, name: str, seconds: float) -> None:
        """Keep what each stage took over all the processes that worked on it."""
        taken = self._seconds()
        taken[name] = round(taken.get(name, 0.0) + seconds, 1)
        write_whole(self.folder.path / "seconds.json", json.dumps(taken))

    def _seconds(self) -> dict[str, float]:
        """Read what each stage took; a kill right after a stage may have left it out."""
        path = self.folder.path / "seconds.json"
        taken: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return taken

    def _evaluate(self, config: DistilConfig, two_stages: bool) -> dict[str, Any]:
        self.folder.say(stage="evaluate")
        held_out = {
            split: read_records(self.folder.path / f"{split.value}.jsonl", GoldCase)
            for split in (Split.VALIDATION, Split.TEST)
        }
        judge = _Judges(self.folder, held_out)
        base = judge.margins(config.student, None, Split.TEST)
        stage1 = judge.margins(str(self.folder.path), Stage.SFT, Split.TEST)
        last = Stage.DPO if two_stages else Stage.SFT
        final = judge.margins(str(self.folder.path), last, Split.TEST) if two_stages else stage1
        validation = judge.margins(str(self.folder.path), last, Split.VALIDATION)
        temperature = fit_temperature(validation, [case.gold for case in held_out[Split.VALIDATION]])
        test = held_out[Split.TEST]
        fit = calibration(test, final, temperature) if test else {"temperature": temperature}
        write_whole(self.folder.path / "calibration.json", json.dumps(fit, indent=2))
        made = self._report(
            test, {"base": base, "stage1": stage1, "stage2": final if two_stages else None}, fit
        )
        shutil.rmtree(self.folder.features_dir, ignore_errors=True)  # both stages have read them
        write_whole(self.folder.path / "report.md", report.as_markdown(made))
        write_whole(self.folder.report_path, json.dumps(made, indent=2) + "\n")
        self.folder.say(status=RunStatus.COMPLETE, stage="evaluate")
        return made

    def _report(
        self, test: list[GoldCase], margins: dict[str, list[float] | None], fit: dict[str, float]
    ) -> dict[str, Any]:
        snapshot = json.loads(self.folder.snapshot_path.read_text(encoding="utf-8"))
        seconds = self._seconds()
        made: dict[str, Any] = {"run": self.folder.path.name, "teachers": {}, "majority": None}
        if test:
            teachers, majority = teacher_scores(test)
            made["teachers"] = {name: scored.as_dict() for name, scored in teachers.items()}
            made["majority"] = majority.as_dict()
        for name, odds in margins.items():
            made[name] = student_score(test, odds).as_dict() if test and odds is not None else None
        cases, rulings = snapshot["counts"]["training_cases"], snapshot["counts"]["rulings"]
        return {
            **made,
            "rulings": rulings,
            "training_cases": cases,
            "rulings_share": round(rulings / cases, 4) if cases else 0.0,
            "held_out_cases": len(test),
            "held_out_by_verdict": {v.value: sum(case.gold == v for case in test) for v in Verdict},
            "calibration": fit,
            "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        }


class _Judges:
    """Judges the held-out cases with one student after another; their pictures are loaded once."""

    def __init__(self, folder: RunFolder, held_out: dict[Split, list[GoldCase]]) -> None:
        self.folder = folder
        self.held_out = held_out
        self.pictures: dict[str, Any] = {}

    def margins(self, source: str, stage: Stage | None, split: Split) -> list[float]:
        from training.pictures import load_pictures
        from training.student import Student

        cases = [held_out.case for held_out in self.held_out[split]]
        student = Student.load(source, stage=stage)
        wanted = [case.image for case in cases if case.image not in self.pictures]
        self.pictures |= load_pictures(self.folder.path, wanted, student.edge)
        margins: list[float] = []
        for start in range(0, len(cases), EVALUATION_BATCH):
            part = cases[start : start + EVALUATION_BATCH]
            margins += student.margins([self.pictures[case.image] for case in part], part)
        return margins
