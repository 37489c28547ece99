"""The recipe, as parts in order, from the snapshot to the report.

Runs in a run folder and needs nothing else. Every part says by what it leaves in the folder whether it
is done, and what is done is not done again, so running a folder that was stopped or killed goes on where
it was: a stage's folder exists exactly when the stage is complete, and `report.json` exactly when the
run is. A part is one entry of `_Distillation.parts`; its name is what `state.json` calls `stage`.
"""

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.vocabulary import RunStatus, Split, Stage, Verdict
from training import report
from training.adapter_card import leave_cards
from training.calibrate import fit_temperature
from training.config import DistilConfig, load_config
from training.evaluate import Score, calibration, student_score, teacher_scores
from training.faults import reason
from training.plots import write_plots
from training.preferences import made_kinds, stage2_preferences
from training.provenance import leave_provenance
from training.records import GoldCase, Preference, Target, read_records
from training.report import ABLATION_LABELS, ablation_results
from training.state import RunFolder, RunFolderError, write_whole

if TYPE_CHECKING:
    from training.stage import StageInputs
    from training.stage_run import StageRun


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
            folder.clear()
            return _Distillation(folder, stop).run()
        except Exception as error:
            _note_end(folder, error)
            raise


def _note_end(folder: RunFolder, error: Exception) -> None:
    """Say in `state.json` why the run ended, having deleted what was not written to its end.

    That makes room for the state on a full disk.
    """
    from training.stage import StageStopped

    with suppress(OSError):
        folder.clear()
    last = folder.state()
    stopped = isinstance(error, StageStopped)
    status = RunStatus.STOPPED if stopped else RunStatus.FAILED
    why = "stopped on request; everything is saved" if stopped else reason(error)
    with suppress(OSError):  # the error itself goes up, and a run without a word counts as killed
        folder.say(status=status, stage=last.stage, step=last.step, steps=last.steps, why=why, path=last.path)


def _stop_requested() -> Callable[[], bool]:
    """Turn SIGTERM and SIGINT into a question the stages ask after every step."""
    asked = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: asked.set())
    return asked.is_set


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run: its name in `state.json`, whether it is done, and what does it."""

    name: str
    is_done: Callable[[], bool]
    do: Callable[[], None]


class _Distillation:
    """A run folder on its way from snapshot to report."""

    def __init__(self, folder: RunFolder, stop_requested: Callable[[], bool]) -> None:
        self.folder = folder
        self.stop_requested = stop_requested
        self.config: DistilConfig = load_config(folder.config_path)
        self.evaluation_path = folder.path / "evaluation.json"
        self.stage_run: StageRun | None = None

    def parts(self) -> list[Part]:
        """Return the parts in their order."""
        folder = self.folder
        return [
            Part("snapshot", lambda: False, self._check_snapshot),
            Part("features", folder.adapter_dir(Stage.SFT).is_dir, self._features),
            Part("sft", folder.adapter_dir(Stage.SFT).is_dir, lambda: self._sft().run()),
            Part("negatives", self._negatives_are_done, self._make_negatives),
            Part("reference", self._dpo_is_done, self._reference),
            Part("dpo", self._dpo_is_done, lambda: self._dpo().run()),
            Part("evaluate", self.evaluation_path.exists, self._evaluate),
            Part("ablation", self._ablation_is_done, self._compare),
            Part("report", folder.report_path.exists, self._report),
        ]

    def run(self) -> dict[str, Any]:
        """Do every part that is not done, and return the report."""
        from training.stage import StageStopped

        for part in self.parts():
            if part.is_done():
                continue
            if self.stop_requested():
                raise StageStopped
            self.folder.say(stage=part.name)
            started = time.monotonic()
            try:
                part.do()
            finally:
                self._add_seconds(part.name, time.monotonic() - started)
        made = self.folder.report()
        if made is None:
            raise RunFolderError(f"{self.folder.path} has no report.json although its report was written.")
        self.folder.say(status=RunStatus.COMPLETE, stage="report")
        return made

    def _targets(self) -> list[Target]:
        return read_records(self.folder.path / "sft.jsonl", Target)

    def _preferences(self) -> list[Preference]:
        return stage2_preferences(self.folder.path, ())

    def _negatives_are_done(self) -> bool:
        made = (self.folder.path / "negatives.jsonl").exists()
        return made or not made_kinds(self.config) or not self._preferences()

    def _make_negatives(self) -> None:
        from training import negatives

        negatives.run(self._inputs())

    def _ablation_is_done(self) -> bool:
        wanted = self.config.ablation and self._preferences() and self._held_out(Split.TEST)
        return not wanted or ablation_results(self.folder.path).keys() >= ABLATION_LABELS.keys()

    def _compare(self) -> None:
        """Train and judge stage 2 with each set of negatives; leaves a result each in `ablation/`."""
        from training import ablation
        from training.judging import Judges
        from training.student import Student

        test = self._held_out(Split.TEST)
        judges = Judges(self.folder, self.config)

        def judged(run_dir: Path) -> Score:
            student = Student.load(str(run_dir), stage=Stage.DPO)
            return student_score(test, judges.margins(student, [one.case for one in test]))

        ablation.run(self._inputs(), judged)

    def _check_snapshot(self) -> None:
        """Raise RunFolderError or RecordError for a snapshot nothing can be learnt from."""
        if not self._targets():
            raise RunFolderError("The snapshot has no case with a target: import cases with opinions first.")
        self._preferences()

    def _sft(self) -> "StageRun":
        """Return stage 1; what its features were computed for is what it trains on."""
        if self.stage_run is None:
            from training import sft

            self.stage_run = sft.stage_run(self._inputs(), self._targets())
        return self.stage_run

    def _dpo(self) -> "StageRun":
        """Return stage 2; what its reference was asked about is what it trains on."""
        if self.stage_run is None or self.stage_run.stage is not Stage.DPO:
            from training import dpo

            learnt = stage2_preferences(self.folder.path, self.config.negatives.kinds)
            self.stage_run = dpo.stage_run(self._inputs(), learnt)
        return self.stage_run

    def _features(self) -> None:
        self._sft().prepare()

    def _reference(self) -> None:
        self._dpo().prepare()

    def _dpo_is_done(self) -> bool:
        return self.folder.adapter_dir(Stage.DPO).is_dir() or not self._preferences()

    def _inputs(self) -> "StageInputs":
        from training.stage import StageInputs

        return StageInputs(self.folder, self.config, self.stop_requested)

    def _add_seconds(self, name: str, seconds: float) -> None:
        """Keep what each part took over all the processes that worked on it."""
        taken = self._seconds()
        taken[name] = round(taken.get(name, 0.0) + seconds, 1)
        write_whole(self.folder.path / "seconds.json", json.dumps(taken))

    def _seconds(self) -> dict[str, float]:
        """Read what each part took; a kill right after a part may have left it out."""
        path = self.folder.path / "seconds.json"
        taken: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return taken

    def _held_out(self, split: Split) -> list[GoldCase]:
        return read_records(self.folder.path / f"{split.value}.jsonl", GoldCase)

    def _evaluate(self) -> None:
        """Score the student before, between and after the stages; leaves `evaluation.json`."""
        from training.judging import Judges
        from training.stage import PartProgress
        from training.student import Student

        two_stages = self.folder.adapter_dir(Stage.DPO).is_dir()
        test, validation = self._held_out(Split.TEST), self._held_out(Split.VALIDATION)
        asked = (3 if two_stages else 2) * len(test) + len(validation)
        judges = Judges(self.folder, self.config, PartProgress(self._inputs(), "evaluate", asked))
        cases = [one.case for one in test]
        base = judges.margins(Student.untouched(self.config), cases)
        student = Student.load(str(self.folder.path), stage=Stage.SFT)
        final = stage1 = judges.margins(student, cases)
        if two_stages:
            student = Student.load(str(self.folder.path), stage=Stage.DPO)
            final = judges.margins(student, cases)
        held_out = judges.margins(student, [one.case for one in validation])
        temperature = fit_temperature(held_out, [one.gold for one in validation])
        fit = calibration(test, final, temperature) if test else {"temperature": temperature}
        write_whole(self.folder.path / "calibration.json", json.dumps(fit, indent=2))
        margins = {"base": base, "stage1": stage1, "stage2": final if two_stages else None}
        scored: dict[str, Any] = {
            name: student_score(test, odds).as_dict() if test and odds is not None else None
            for name, odds in margins.items()
        }
        write_whole(self.evaluation_path, json.dumps({**scored, "calibration": fit}, indent=2) + "\n")

    def _report(self) -> None:
        """Write plots, `report.md`, and `report.json` last; what only a run under way needs goes."""
        plots = write_plots(self.folder.metrics())
        for name, drawn in plots.items():
            write_whole(self.folder.path / name, drawn)
        made = {**self._made(), "plots": list(plots)}
        shutil.rmtree(self.folder.features_dir, ignore_errors=True)  # both stages have read them
        write_whole(self.folder.path / "report.md", report.as_markdown(made))
        text = json.dumps(made, indent=2) + "\n"
        leave_cards(self.folder, made)
        leave_provenance(self.folder, text)
        write_whole(self.folder.report_path, text)

    def _made(self) -> dict[str, Any]:
        test = self._held_out(Split.TEST)
        snapshot = json.loads(self.folder.snapshot_path.read_text(encoding="utf-8"))
        evaluation = json.loads(self.evaluation_path.read_text(encoding="utf-8"))
        seconds = self._seconds()
        made: dict[str, Any] = {"run": self.folder.path.name, "teachers": {}, "majority": None}
        if test:
            teachers, majority = teacher_scores(test)
            made["teachers"] = {name: scored.as_dict() for name, scored in teachers.items()}
            made["majority"] = majority.as_dict()
        cases, rulings = snapshot["counts"]["training_cases"], snapshot["counts"]["rulings"]
        return {
            **made,
            **evaluation,
            "rulings": rulings,
            "training_cases": cases,
            "rulings_share": round(rulings / cases, 4) if cases else 0.0,
            "held_out_cases": len(test),
            "negatives": self._negative_counts(),
            "stage2_training": report.training_figures(self.folder.metrics()),
            "ablation": ablation_results(self.folder.path),
            "alarms": [asdict(alarm) for alarm in self.folder.alarms()],
            "held_out_by_verdict": {v.value: sum(case.gold == v for case in test) for v in Verdict},
            "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        }

    def _negative_counts(self) -> dict[str, int]:
        path = self.folder.path / "negatives_counts.json"
        counts: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return counts
