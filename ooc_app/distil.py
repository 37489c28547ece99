"""The Distil tab: freeze a snapshot, run the two stages, watch them, promote the student.

A run is a process of its own and its folder is the truth about it, so this tab holds no state: what
it shows is read from the folder each time, and a reload, a second browser or a restart of the page
finds the run where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import gradio as gr

from db.teacher_figures import versions
from db.vocabulary import Role, RunStatus
from ooc_app import footprint, promotion, render, runner, snapshot
from ooc_app.auth import NotAllowedError, Person, require
from ooc_app.desk import Desk
from ooc_app.negative_panel import negative_panel, some_negatives
from ooc_app.run_panel import run_panel, summary_panel
from ooc_app.runner import RunError
from ooc_app.snapshot import SnapshotError
from training.config import DistilConfig, with_negatives
from training.presets import DEMO, preset_names, preset_of

SECONDS_BETWEEN_LOOKS: Final = 1.0
RESUMABLE: Final = (RunStatus.WAITING, RunStatus.STOPPED, RunStatus.FAILED)
NEGATIVE_CHOICES: Final = (
    ("as the preset says", "preset"),
    ("none", "none"),
    ("weakened pictures", "weakened"),
    ("injected errors", "injected"),
    ("both", "both"),
    ("both, and compare", "compare"),
)
REFUSALS: Final = (NotAllowedError, RunError, SnapshotError, promotion.PromotionError)

# ---- handlers ----


def planned(desk: Desk, preset_name: str, negatives: str = "preset", max_steps: int = 0) -> DistilConfig:
    """Return the configuration a run would have; `negatives` is a value of `NEGATIVE_CHOICES`."""
    config = snapshot.recipe(desk, preset_name, max_steps=max_steps)
    if negatives == "compare":
        return with_negatives(config, "both", compare=True)
    return with_negatives(config, None if negatives == "preset" else negatives)


def start(desk: Desk, preset_name: str, max_steps: int, negatives: str = "preset") -> str:
    """Freeze a snapshot of the desk as it is now, start a run on it and return the run's name.

    `max_steps` caps each stage where it is above 0.
    Raises SnapshotError where there is nothing to learn from, and RunError while another run goes;
    then no folder is left behind.
    """
    going = [view.name for view in runner.all_runs(desk) if view.status is RunStatus.RUNNING]
    if going:
        raise RunError(f"The run {going[0]} is still going: wait until it is done, or stop it first.")
    run_dir = snapshot.freeze(desk, name=None, config=planned(desk, preset_name, negatives, max_steps))
    runner.start(desk, run_dir)
    return run_dir.name


def stop(desk: Desk, run_name: str) -> None:
    """Ask a run to save and stop."""
    runner.stop(runner.run_dir_of(desk, run_name))


def resume(desk: Desk, run_name: str) -> None:
    """Go on with a run from its last saved step."""
    runner.start(desk, runner.run_dir_of(desk, run_name))


def newest_run(desk: Desk) -> str | None:
    """The run to show first: the one that is going, else the newest."""
    views = runner.all_runs(desk)
    going = [view.name for view in views if view.status is RunStatus.RUNNING]
    return next(iter(going or [view.name for view in views]), None)


def default_preset(desk: Desk) -> str:
    """The preset made for the student of the settings."""
    return preset_of(desk.settings.student) or DEMO


def memory_needed(desk: Desk, preset_name: str) -> str:
    """Say whether a run by the preset fits into this machine's memory, and what to set if not."""
    needed = footprint.footprint(snapshot.plan(desk, preset_name), snapshot.preview(desk).cases)
    return footprint.notice(needed)


# ---- layout ----


@dataclass(frozen=True)
class Parts:
    """The components of the tab, by what they are for."""

    summary: gr.HTML
    preset: gr.Dropdown
    max_steps: gr.Number
    negatives: gr.Dropdown
    begin: gr.Button
    memory: gr.HTML
    notice: gr.HTML
    run: gr.Dropdown
    stop: gr.Button
    resume: gr.Button
    promote: gr.Button
    roll_back: gr.Button
    panel: gr.HTML
    timer: gr.Timer
    drawn: gr.State  # the panel as it was sent last, so that an unchanged one is not sent again

    @property
    def followed(self) -> list[Any]:
        """What changes as the run goes on, in the order of `_follow`."""
        return [self.panel, self.stop, self.resume, self.promote, self.roll_back, self.timer, self.drawn]


def lay_out(desk: Desk) -> Parts:
    """Place the components: what would be learnt, the run and what may be done with it, its panel."""
    with gr.Column(elem_classes="distil"):
        with gr.Row(elem_classes="distil-line"):
            summary = gr.HTML(elem_id="distil-summary", apply_default_css=False, scale=5)
            choice = gr.Dropdown(
                list(preset_names()),
                value=default_preset(desk),
                label="preset",
                elem_id="distil-preset",
                scale=0,
                min_width=150,
            )
            steps = gr.Number(
                0,
                label="steps per stage, 0: all",
                precision=0,
                minimum=0,
                elem_id="distil-steps",
                scale=0,
                min_width=150,
            )
            negatives = gr.Dropdown(
                list(NEGATIVE_CHOICES),
                value="preset",
                label="negatives",
                elem_id="distil-negatives",
                scale=0,
                min_width=180,
            )
            begin = gr.Button(
                "Start a run", variant="primary", elem_id="distil-start", scale=0, min_width=130
            )
        memory = gr.HTML(elem_id="distil-memory", apply_default_css=False)
        notice = gr.HTML(elem_id="distil-notice", apply_default_css=False)
        with gr.Row(elem_classes="distil-line"):
            names = [view.name for view in runner.all_runs(desk)]
            run = gr.Dropdown(names, label="run", elem_id="distil-run", scale=0, min_width=260)
            stop_button = _button("Stop and save", "stop")
            resume_button = _button("Resume", "resume")
            promote_button = _button("Promote", "promote")
            back = _button("Roll back", "rollback")
        panel = gr.HTML(elem_id="distil-panel", apply_default_css=False)
    timer = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)
    return Parts(
        summary,
        choice,
        steps,
        negatives,
        begin,
        memory,
        notice,
        run,
        stop_button,
        resume_button,
        promote_button,
        back,
        panel,
        timer,
        gr.State(""),
    )


def _button(words: str, name: str) -> gr.Button:
    return gr.Button(words, elem_id=f"distil-{name}", scale=0, min_width=120, interactive=False)


# ---- wiring ----

QUIET: Final[dict[str, Any]] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}


def build_distil(desk: Desk, tab: gr.Tab) -> None:
    """Lay out the tab and connect it."""
    parts = lay_out(desk)
    around = [parts.summary, parts.run, *parts.followed]

    def opened(selected: str | None, preset_name: str, negatives: str) -> tuple[Any, ...]:
        return _open(desk, selected, planned(desk, preset_name, negatives))

    def summed_up(preset_name: str, negatives: str) -> str:
        return _summary(desk, planned(desk, preset_name, negatives))

    def needed(preset_name: str) -> str:
        return memory_needed(desk, preset_name)

    def looked(selected: str | None, before: str) -> tuple[Any, ...]:
        return _follow(desk, selected, before)

    # Not when the page loads: the summary reads every opinion, and this tab is not the first.
    plan = [parts.preset, parts.negatives]
    tab.select(opened, [parts.run, *plan], around, **QUIET)
    for look in (tab.select, parts.preset.input):
        look(needed, parts.preset, parts.memory, **QUIET)
    for choice in plan:
        choice.input(summed_up, plan, parts.summary, **QUIET)
    for event in (parts.timer.tick, parts.run.input):
        event(looked, [parts.run, parts.drawn], parts.followed, **QUIET)
    for button, deed in _deeds(desk, parts):
        asked = [parts.run, *plan, parts.max_steps]
        said = button.click(lambda: render.notice("One moment ..."), None, parts.notice, **QUIET)
        done = said.then(_guarded(desk, deed), asked, [parts.run, parts.notice], **QUIET)
        done.then(opened, [parts.run, *plan], around, **QUIET)


@dataclass(frozen=True)
class Asked:
    """What stands in the tab's fields when a button is pressed."""

    run: str | None
    preset: str
    negatives: str
    max_steps: int

    def chosen(self) -> str:
        """The run that is selected; raises RunError where there is none."""
        if not self.run:
            raise RunError("There is no run yet: start one first.")
        return self.run


Deed = Callable[[Person, Asked], tuple[str | None, str]]


def _deeds(desk: Desk, parts: Parts) -> list[tuple[gr.Button, Deed]]:
    """What each button does: it returns the run to show and the sentence to say."""

    def starts(person: Person, asked: Asked) -> tuple[str | None, str]:
        name = start(desk, asked.preset, asked.max_steps, asked.negatives)
        return name, f"{name} has started; it goes on when this page is closed."

    def stops(person: Person, asked: Asked) -> tuple[str | None, str]:
        stop(desk, asked.chosen())
        return asked.run, f"{asked.run} saves its last step and stops."

    def resumes(person: Person, asked: Asked) -> tuple[str | None, str]:
        resume(desk, asked.chosen())
        return asked.run, f"{asked.run} goes on from its last saved step."

    def promotes(person: Person, asked: Asked) -> tuple[str | None, str]:
        promotion.promote(desk, asked.chosen(), person.annotator_id)
        return asked.run, f"The student of {asked.run} answers in Check from now on."

    def rolls_back(person: Person, asked: Asked) -> tuple[str | None, str]:
        promotion.rollback(desk, person.annotator_id)
        return asked.run, f"{promotion.served(desk)} answers in Check again."

    buttons = (parts.begin, parts.stop, parts.resume, parts.promote, parts.roll_back)
    return list(zip(buttons, (starts, stops, resumes, promotes, rolls_back), strict=True))


def _guarded(desk: Desk, deed: Deed) -> Callable[..., tuple[Any, str]]:
    """Let only an editor do it, and answer a refusal with its sentence."""

    def do(
        selected: str | None, preset_name: str, negatives: str, max_steps: float, request: gr.Request
    ) -> tuple[Any, str]:
        try:
            person = require(desk, request, Role.EDITOR)
            name, says = deed(person, Asked(selected, preset_name, negatives, int(max_steps or 0)))
        except REFUSALS as refused:
            return gr.skip(), render.notice(str(refused), "warning")
        names = [view.name for view in runner.all_runs(desk)]
        return gr.update(choices=names, value=name), render.notice(says, "saved")

    return do


def _summary(desk: Desk, config: DistilConfig) -> str:
    learnt = snapshot.preview(desk)
    with desk.sessions() as session:
        spoken = versions(session)
    return summary_panel(learnt, snapshot.negatives_tried(learnt, config), spoken)


def _open(desk: Desk, selected: str | None, config: DistilConfig) -> tuple[Any, ...]:
    names = [view.name for view in runner.all_runs(desk)]
    shown = selected if selected in names else newest_run(desk)
    return _summary(desk, config), gr.update(choices=names, value=shown), *_follow(desk, shown, "")


def _follow(desk: Desk, run_name: str | None, before: str) -> tuple[Any, ...]:
    """The run's panel and what may be done with it; nothing where nothing changed since `before`."""
    run_dir = runner.run_dir_of(desk, run_name) if run_name else None
    view = runner.view(run_dir) if run_dir else None
    served = promotion.served(desk)
    after = run_panel(view, served) + negative_panel(some_negatives(run_dir) if run_dir else ())
    if after == before:
        return tuple(gr.skip() for _ in range(7))
    status = view.status if view else None
    return (
        after,
        gr.update(interactive=status is RunStatus.RUNNING),
        gr.update(interactive=status in RESUMABLE),
        gr.update(interactive=status == RunStatus.COMPLETE and run_name != served),
        gr.update(interactive=(desk.runs_dir / served).is_dir()),
        gr.Timer(active=status in (RunStatus.WAITING, RunStatus.RUNNING)),
        after,
    )
