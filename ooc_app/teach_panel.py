"""Draw the Teach tab: how far the desk is, its teachers, one of them with what can be done, its runs.

Pure; every text goes through `escape`. What may be pressed says in `data-` what it asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final
from urllib.parse import quote, urlsplit

from db.teach_runs import RunView
from db.teaching import CUT_OFF
from db.vocabulary import Split, TeacherKind
from ooc_app import render
from ooc_app.teach_board import FAILED, Deed, Standing
from training.teachers import TeacherConfig

KIND_WORDS: Final = {
    TeacherKind.SCRIPTED.value: "scripted",
    TeacherKind.RECORDED.value: "recorded",
    TeacherKind.ENDPOINT.value: "endpoint",
    TeacherKind.LOCAL.value: "on this machine",
    "replay": "recorded",
}
GOING_WORDS: Final = {
    Deed.RUN: "asking",
    Deed.REHEARSE: "dry run",
    Deed.FLIP: "order test",
    Deed.RETIRE: "being retired",
    Deed.REINSTATE: "being reinstated",
}
SCRIPTED: Final = (
    "The demo's script speaks as this teacher, with blind spots that are written down: it shows what "
    "teachers are for, and cannot be asked."
)
REHEARSE_FIRST: Final = "A dry run first shows what all of them cost, and whether the answers can be read."
DASH: Final = '<span class="teach-none" title="none">&ndash;</span>'


@dataclass(frozen=True, slots=True)
class Row:
    """A teacher as the list has it; `missing` is None where it cannot be asked.

    Of the `missing` cases, `stale` have an opinion from another model or wording; those `without_picture`
    come on top, and are not asked about.
    `right` of `judged` cases were as people ruled, or as the data set's gold verdict where nobody has.
    """

    name: str
    kind: str
    config: TeacherConfig | None
    opinions: int = 0
    unsure: int = 0
    judged: int = 0
    right: int = 0
    missing: int | None = None
    stale: int = 0
    without_picture: int = 0
    teacher_id: int | None = None  # None: the desk has not heard of it, only the settings
    is_active: bool = True
    standing: Standing | None = None

    @property
    def is_going(self) -> bool:
        """Whether something is being done with it."""
        return self.standing is not None and self.standing.going

    @property
    def may_be_asked(self) -> bool:
        """Whether a question could go out."""
        return self.config is not None and self.is_active and self.kind != TeacherKind.SCRIPTED


def counts_panel(cases: int, conflicts_open: int, without_opinion: int) -> str:
    """Draw how many cases there are, and how far the teachers have got with them."""
    if not cases:
        to_cases = '<button type="button" class="teach-link" data-tab="cases">Import cases</button>'
        return f'<p class="teach-counts"><span>No case yet: {to_cases} first.</span></p>'
    open_ = render.counted(conflicts_open, "conflict") + " open"
    link = f'<button type="button" class="teach-link" data-tab="adjudicate">{open_}</button>'
    none = f"{render.counted(without_opinion, 'case')} without any opinion"
    return (
        f'<p class="teach-counts"><span>{render.counted(cases, "case")}</span>'
        f"<span>{link}</span><span>{none}</span></p>"
    )


def list_panel(rows: Sequence[Row], opened: str | None, *, may_change: bool, trouble: str = "") -> str:
    """Draw the teachers; `trouble` is what is wrong with the settings."""
    add = '<button type="button" class="teach-main" data-deed="new">Add a teacher</button>'
    said = render.notice(trouble, "warning") if trouble else ""
    hint = "" if may_change else '<p class="teach-soft">Editors add teachers and ask them.</p>'
    head = f'<div class="teach-title"><h2>Teachers</h2>{add if may_change else hint}</div>'
    if not rows:
        way = "Choose below where one runs." if may_change else "An editor adds one."
        return f"{head}{said}{render.empty_state('No teacher yet', way)}"
    body = "".join(_row(row, opened, may_change=may_change) for row in rows)
    return (
        f'{head}{said}<table class="teach-table"><thead><tr><th scope="col">teacher</th>'
        '<th scope="col">model</th><th scope="col" class="number">opinions</th>'
        '<th scope="col" class="number">missing</th><th scope="col">accuracy</th>'
        '<th scope="col" class="number">unsure</th><th scope="col">state</th></tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _row(row: Row, opened: str | None, *, may_change: bool) -> str:
    name, current = escape(row.name), ' aria-current="true"' if row.name == opened else ""
    shown = f"<b>{name}</b>"
    if may_change:
        shown = f'<a href="?teach={quote(row.name, safe="")}" data-teacher="{name}"{current}>{name}</a>'
    return (
        f'<tr data-of="{name}"{current}><th scope="row">{shown} {kind_mark(row)}</th>'
        f'<td data-label="model">{_model(row, may_change=may_change)}</td>'
        f'<td class="number" data-label="opinions" data-cell="opinions">{render.count(row.opinions)}</td>'
        f'<td class="number" data-label="missing" data-cell="missing">{missing_words(row)}</td>'
        f'<td data-label="accuracy">{_accuracy(row)}</td>'
        f'<td class="number" data-label="unsure">{_share(row.unsure, row.opinions)}</td>'
        f'<td data-label="state" data-cell="state" class="teach-state">{escape(state_words(row))}</td></tr>'
    )


def kind_mark(row: Row) -> str:
    """Draw what a teacher is, where its name does not say it."""
    words = KIND_WORDS.get(row.kind, row.kind)
    return "" if f"({words})" in row.name else f'<span class="teach-kind">{escape(words)}</span>'


def missing_words(row: Row) -> str:
    """Write how many cases lack its opinion."""
    return DASH if row.missing is None else render.count(row.missing)


def state_words(row: Row) -> str:
    """Say in a few words how it stands with a teacher."""
    last = row.standing
    if last is not None and last.going:
        figures = last.figures or {}
        done, total = figures.get("kept") or 0, figures.get("total")
        return GOING_WORDS[last.deed] + (f", {render.percent(min(1.0, done / total), 0)}" if total else "")
    if not row.is_active:
        return "retired"
    if row.kind == TeacherKind.SCRIPTED:
        return "cannot be asked"
    if last is not None and last.deed is Deed.RUN and last.why != "all":
        return _ended_words(last)
    if row.config is None:
        return "recorded" if row.kind == TeacherKind.RECORDED else "not in the settings"
    if not row.opinions:
        return "never asked"
    return "ready" if row.missing else "all asked"


def _ended_words(last: Standing) -> str:
    if last.why == "alarm":
        return f"paused: {last.said}"
    if last.why in (FAILED, "teacher"):
        return "could not go on"  # what it said may name its address, which is for editors
    words = {"stopped": "stopped", CUT_OFF: "cut off"}
    return words.get(str(last.why), "ended at its limit")


def host_of(config: TeacherConfig) -> str:
    """Say where a teacher is asked."""
    if config.kind == "endpoint":
        return urlsplit(config.address).netloc
    return "this machine" if config.kind == "local" else "a recording"


def _model(row: Row, *, may_change: bool) -> str:
    if row.config is None:
        return DASH
    host = f"<small>{escape(host_of(row.config))}</small>" if may_change else ""
    return f'<span class="teach-model">{escape(row.config.model)}</span>{host}'


def _accuracy(row: Row) -> str:
    if not row.judged:
        return (
            '<span class="teach-none" title="no case it answered has a ruling or gold verdict">&ndash;</span>'
        )
    of = f"<small>of {render.counted(row.judged, 'case')}</small>"
    return f"{render.percent(row.right / row.judged)} {of}"


def _share(part: int, whole: int) -> str:
    return render.percent(part / whole) if whole else DASH


# ---- one teacher ----


def card_panel(row: Row) -> str:
    """Draw a teacher's settings."""
    change = '<button type="button" data-deed="change">Change</button>' if row.config else ""
    heading = f'<h2 tabindex="-1">{escape(row.name)}</h2>'
    title = f'<div class="teach-title">{heading}{kind_mark(row)}{change}</div>'
    if row.config is None:
        return title + render.paragraph(_why_not(row), "teach-soft")
    return f'{title}<dl class="teach-settings">{"".join(_settings(row.config))}</dl>'


def _settings(config: TeacherConfig) -> list[str]:
    free = "none given"
    prices = f"{config.price_in:g} + {config.price_out:g} USD a million tokens"
    facts = [("model", config.model), ("asked at", config.base_url or host_of(config))]
    if config.kind == "endpoint":
        facts.append(("key", f"in {config.key_env}" if config.key_env else "none"))
        facts.append(("prices", prices if config.price_in + config.price_out else free))
    if config.path:
        facts.append(("file", config.path))
    facts.append(("pictures", "none: text only" if config.text_only else f"up to {config.image_edge:,} px"))
    facts.append(("answer", f"up to {config.max_tokens:,} tokens, temperature {config.temperature:g}"))
    pace = f", {config.requests_per_minute:g} a minute" if config.requests_per_minute else ""
    facts.append(("pace", f"{config.concurrency:,} at once{pace}, {config.timeout_s:g} s each at most"))
    return [f"<div><dt>{escape(term)}</dt><dd>{escape(said)}</dd></div>" for term, said in facts]


def _why_not(row: Row) -> str:
    if row.kind == TeacherKind.SCRIPTED:
        return SCRIPTED
    if row.kind == TeacherKind.RECORDED:
        return "Its opinions were imported: there is nobody to ask. Add a teacher of this name to ask one."
    return "It is not in settings.toml any more, so it cannot be asked; what it said stays on the desk."


def deeds_panel(row: Row) -> str:
    """Draw what can be done with a teacher, in the order of the work."""
    held = " disabled" if row.is_going else ""
    ask = ""
    main = _main(not _is_rehearsed(row))
    if row.may_be_asked:
        ask = (
            '<div class="teach-deeds"><button type="button" data-deed="test">Test connection</button><button '
            f'type="button" class="{main}" data-deed="rehearse"{held}>Dry run</button>'
            '<span class="teach-soft">asks about three cases, shows all of it, keeps nothing</span></div>'
            '<div class="teach-tested" role="status"></div>'
            f"{_ask_form(row, held)}"
        )
    return ask + _more(row, held)


def _main(is_next: bool) -> str:
    return "teach-main" if is_next else ""


def _ask_form(row: Row, held: str) -> str:
    assert row.config is not None
    missing = row.missing or 0
    if not missing:
        return '<p class="teach-soft">There is no case left to ask this teacher about.</p>'
    is_priced = bool(row.config.price_in + row.config.price_out)
    money = _limit("budget", "USD", "0.01") if is_priced else ""
    without = "" if is_priced else ' <span class="teach-soft">(no prices given, so no limit of money)</span>'
    splits = "".join(f'<option value="{split.value}">{split.value}</option>' for split in Split)
    last = row.standing.deed if row.standing is not None else None
    is_rehearsed = _is_rehearsed(row)
    main = _main(is_rehearsed and last is not Deed.RUN)
    hint = "" if is_rehearsed else f'<p class="teach-soft">{REHEARSE_FIRST}</p>'
    return (
        '<form class="teach-ask" data-form="ask" aria-label="Ask about the missing cases"><fieldset><legend>'
        f"At most{without}</legend>{_limit('limit', 'cases', '1')}{money}{_limit('tokens', 'tokens', '1')}"
        f"{_limit('minutes', 'minutes', 'any')}"
        f'<label>of <select name="split"><option value="">all splits</option>{splits}</select></label>'
        f'</fieldset><button type="submit" class="{main}"{held}>Ask about the '
        f"{render.counted(missing, 'missing case')}</button>{hint}{_about_missing(row)}</form>"
    )


def _is_rehearsed(row: Row) -> bool:
    last = row.standing.deed if row.standing is not None else None
    return bool(row.opinions) or last in (Deed.REHEARSE, Deed.RUN)


def _about_missing(row: Row) -> str:
    """Say which of the cases have an old opinion, and which are left out."""
    said = []
    if row.stale:
        said.append(
            f"{render.counted(row.stale, 'case')} it answered before, as another model or asked in other "
            "words: those opinions give way to the new ones and stay in the history."
        )
    if row.without_picture:
        said.append(f"{render.counted(row.without_picture, 'case')} without a picture would be left out.")
    return f'<p class="teach-soft">{" ".join(said)}</p>' if said else ""


def _limit(name: str, words: str, step: str) -> str:
    least = "1" if step == "1" else "0"
    return (
        f'<label><input type="number" name="{name}" min="{least}" step="{step}" inputmode="decimal" '
        f'placeholder="no limit" autocomplete="off"> {words}</label>'
    )


def _more(row: Row, held: str) -> str:
    parts = []
    if row.may_be_asked and row.opinions:
        parts.append(
            f'<p><button type="button" data-deed="flip"{held}>Order test</button> <span class="teach-soft">'
            "asks again about 50 cases with the verdicts the other way round; keeps nothing</span></p>"
        )
    if row.teacher_id is not None and (row.is_active or row.opinions):  # cut off, it is done again
        parts.append(_asking_twice("retire", "Retire", "Its opinions stay and count no more.", held))
    if row.teacher_id is not None and not row.is_active:
        parts.append(
            f'<p><button type="button" data-deed="reinstate"{held}>Reinstate</button> '
            '<span class="teach-soft">its newest opinions count again</span></p>'
        )
    if row.config is not None:
        stays = "What it said stays on the desk; settings.toml forgets it."
        parts.append(_asking_twice("remove", "Remove from settings", stays, held))
    return f'<div class="teach-more">{"".join(parts)}</div>' if parts else ""


def _asking_twice(deed: str, words: str, what: str, held: str) -> str:
    return (
        f'<details data-fold="{deed}"><summary>{words}</summary><p><span class="teach-soft">{what}</span> '
        f'<button type="button" data-deed="{deed}"{held}>{words} now</button></p></details>'
    )


# ---- its runs ----


def runs_panel(runs: Sequence[RunView], *, is_going: bool = False) -> str:
    """Draw the runs in which a teacher was asked, the newest first; that one may go on."""
    if not runs:
        return ""
    body = "".join(_run(one, is_going=is_going and one is runs[0]) for one in runs)
    heads = "".join(f'<th scope="col" class="{kind}">{words}</th>' for words, kind in RUN_HEADS)
    return (
        '<h3>Runs</h3><div class="teach-scroll" tabindex="0" role="group" aria-label="Runs">'
        f'<table class="teach-runs"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _run(one: RunView, *, is_going: bool) -> str:
    ended = RUN_ENDS.get(one.why or "", one.why or ("goes on" if is_going else CUT_OFF))
    kept = f"{render.count(one.kept)} of {render.count(max(one.asked, one.kept))}"
    return (
        f"<tr><td>{_moment(one.started)}</td><td>{escape(one.who or '')}</td><td>{escape(one.model)} "
        f'<small>{escape(one.prompt_version)}</small></td><td class="number">{kept}</td>'
        f'<td class="number">{render.count(one.tokens)}</td><td class="number">{one.cost:.2f}</td>'
        f"<td>{escape(ended)}</td></tr>"
    )


RUN_HEADS: Final = (
    ("began", ""),
    ("by", ""),
    ("model, wording", ""),
    ("kept", "number"),
    ("tokens", "number"),
    ("USD", "number"),
    ("ended", ""),
)
RUN_ENDS: Final = {
    "all": "all asked",
    "cases": "at its limit of cases",
    "money": "at its limit of money",
    "tokens": "at its limit of tokens",
    "time": "at its limit of time",
    "stopped": "stopped",
    "alarm": "paused by an alarm",
    "teacher": "the teacher could not be asked",
}


def _moment(at: datetime) -> str:
    return f'<time datetime="{at.isoformat()}">{at:%Y-%m-%d %H:%M} UTC</time>'
