"""The recipe, as parts in order, from the snapshot to the report.

Runs in a run folder and needs nothing else. Every part says by what it leaves in the folder whether it
is done, and what is done is not done again, so running a folder that was stopped or killed goes on where
it was: a stage's folder exists exactly when the stage is complete, and `report.json` exactly when the
run is. A part is one entry of `_Distillation.parts`; its name is what `state.json` calls `stage`.

Several processes may share a run (`training.ranks`). They go through the parts side by side, up to the last
one they share, and the main one says what is done; from there on it works alone.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.vocabulary import RunStatus, Split, Stage, Verdict
from training import report
from training.adapter_card import leave_cards
from training.calibrate import fit_temperature, measured
from training.config import DistilConfig, load_config
from training.evaluate import Score, calibration, student_score, teacher_scores
from training.faults import SmallerNextTimeError, is_lost_peer, reason
from training.plots import write_plots, write_reliability
from training.preferences import made_kinds, stage2_preferences
from training.provenance import leave_provenance
from training.ranks import ALONE, Ranks, joined, part, share_of
from training.records import GoldCase, Preference, Target, read_records
from training.report import ABLATION_LABELS, ablation_results
from training.state import LastWord, RunFolder, RunFolderError, SideFolder, StageStopped, write_whole
from training.stopping import StopRequests

if TYPE_CHECKING:
    from training.stage import StageInputs
    from training.stage_run import StageRun


def run(folder: RunFolder) -> dict[str, Any]:
    """Run or resume the folder to its end and return the report.

    A process beside the main one returns nothing once its part in it is over. Raises RunFolderError for a
    folder without snapshot or one that is being run, and StageStopped after a SIGTERM or Ctrl-C, once
    everything is saved. Any other failure is noted in `state.json`.
    """
    folder.check()
    with joined() as ranks:
        return _as_main(folder, ranks) if ranks.is_main else _beside(SideFolder(folder.path), ranks)


def _as_main(folder: RunFolder, ranks: Ranks) -> dict[str, Any]:
    with folder.locked():
        done = folder.report()
        lost = folder.heed()
        if ranks.main_says(done) is not None:
            if folder.state().status is not RunStatus.COMPLETE:  # a kill came between report and state
                folder.say(status=RunStatus.COMPLETE, stage="report")
            return done or {}
        if lost:
            print(f"The last start ended: {lost}")
        stop = StopRequests(folder, ranks)
        folder.launcher = os.getppid() if ranks.count > 1 else None
        folder.say(stage=None)
        try:
            folder.clear()
            return _Distillation(folder, stop, ranks).run()
        except Exception as error:
            _note_end(folder, error, stop)
            raise


def _beside(folder: RunFolder, ranks: Ranks) -> dict[str, Any]:
    """Take part in what the main process says is not done."""
    if ranks.main_says(None) is not None:
        return {}
    try:
        return _Distillation(folder, StopRequests(folder, ranks), ranks).run()
    except Exception as error:
        said = isinstance(error, StageStopped | SmallerNextTimeError) or is_lost_peer(error)
        if not said:
            folder.leave_word(ranks.rank, LastWord(reason(error)))
        raise


def _note_end(folder: RunFolder, error: Exception, stop: StopRequests) -> None:
    """Say in `state.json` why the run ended, having deleted what was not written to its end.

    That makes room for the state on a full disk.
    """
    with suppress(OSError):
        folder.clear()
    last = folder.state()
    with suppress(OSError):  # the error itself goes up, and a run without a word counts as killed
        lost = folder.heed()
        stopped = isinstance(error, StageStopped) and lost is None
        status = RunStatus.STOPPED if stopped else RunStatus.FAILED
        why = stop.why() if stopped else lost or reason(error)
        folder.say(status=status, stage=last.stage, step=last.step, steps=last.steps, why=why, path=last.path)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run: its name in `state.json`, whether it is done, and what does it.

    `is_shared` says that all processes do it, and not the main one alone.
    """

    name: str
    is_done: Callable[[], bool]
    do: Callable[[], None]
    is_shared: bool = False


class _Distillation:
    """A run folder on its way from snapshot to report."""

    def __init__(self, folder: RunFolder, stop_requested: Callable[[], bool], ranks: Ranks = ALONE) -> None:
        self.folder = folder
        self.stop_requested = stop_requested
        self.ranks = ranks
        self.config: DistilConfig = load_config(folder.config_path)
        self.evaluation_path = folder.path / "evaluation.json"
        self.stage_run: StageRun | None = None

    def parts(self) -> list[Part]:
        """Return the parts in their order."""
        folder = self.folder
        return [
            Part("snapshot", lambda: False, self._check_snapshot),
            Part("features", folder.adapter_dir(Stage.SFT).is_dir, self._features, is_shared=True),
            Part("sft", folder.adapter_dir(Stage.SFT).is_dir, lambda: self._sft().run(), is_shared=True),
            Part("negatives", self._negatives_are_done, self._make_negatives),
            Part("reference", self._dpo_is_done, self._reference, is_shared=True),
            Part("dpo", self._dpo_is_done, lambda: self._dpo().run(), is_shared=True),
            Part("evaluate", self.evaluation_path.exists, self._evaluate),
            Part("ablation", self._ablation_is_done, self._compare),
            Part("report", folder.report_path.exists, self._report),
        ]

    def run(self) -> dict[str, Any]:
        """Do every part that is not done, and return the report; nothing beside the main process."""
        parts = self.parts()
        shared_up_to = max(number for number, one in enumerate(parts) if one.is_shared)
        for number, one in enumerate(parts):
            if number > shared_up_to and self.ranks.count > 1:
                part()
                if not self.ranks.is_main:
                    return {}
                self.ranks = ALONE
            self._go_through(one)
        made = self.folder.report()
        if made is None:
            raise RunFolderError(f"{self.folder.path} has no report.json although its report was written.")
        self.folder.say(status=RunStatus.COMPLETE, stage="report")
        return made

    def _go_through(self, one: Part) -> None:
        """Do a part unless it is done or another process's. Raises StageStopped before it where asked to."""
        is_main = self.ranks.is_main
        if self.ranks.main_says(is_main and one.is_done()):
            return
        if self.ranks.any_says(self.stop_requested()):
            raise StageStopped
        if not is_main and not one.is_shared:
            return
        self.folder.say(stage=one.name)
        started = time.monotonic()
        try:
            one.do()
        finally:
            if is_main:
                self._add_seconds(one.name, time.monotonic() - started)

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

        config = share_of(self.config, self.ranks.count)
        return StageInputs(self.folder, config, self.stop_requested, ranks=self.ranks)

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
        from training.reliance import turned
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
        fit: dict[str, Any] = {"temperature": temperature}
        if test:
            fit = calibration(test, final, temperature)
        fit |= measured(held_out, [one.gold for one in validation], temperature)
        fit |= turned(student, self.folder.path, [one.case for one in validation])
        write_whole(self.folder.path / "calibration.json", json.dumps(fit, indent=2))
        margins = {"base": base, "stage1": stage1, "stage2": final if two_stages else None}
        scored: dict[str, Any] = {
            name: student_score(test, odds).as_dict() if test and odds is not None else None
            for name, odds in margins.items()
        }
        write_whole(self.evaluation_path, json.dumps({**scored, "calibration": fit}, indent=2) + "\n")

    def _report(self) -> None:
        """Write plots, `report.md`, and `report.json` last; what only a run under way needs goes."""
        plots = write_plots(self.folder.metrics()) | write_reliability(self._evaluation())
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
        evaluation = self._evaluation()
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
            "split_by": snapshot.get("teachers", []),
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

    def _evaluation(self) -> dict[str, Any]:
        evaluation: dict[str, Any] = json.loads(self.evaluation_path.read_text(encoding="utf-8"))
        return evaluation

    def _negative_counts(self) -> dict[str, int]:
        path = self.folder.path / "negatives_counts.json"
        counts: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return counts
