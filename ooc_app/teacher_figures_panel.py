"""Draw how a teacher does: what it says, how often it is right and how sure of it, and what it alone saw.

Pure; every text goes through `escape`. A figure that cannot be given says why in its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any, Final

from db.agreement import Figure, Together
from db.teacher_figures import Calibration, Judged, TeacherFigures, Version
from db.views import CaseView
from db.vocabulary import TeacherKind
from ooc_app import render
from ooc_app.case_list import thumbnail_url
from ooc_app.charts import confidence_chart
from training.report import split_sentence

NOT_ASKED_HERE: Final = (TeacherKind.RECORDED, TeacherKind.SCRIPTED)


def split_line(versions: Sequence[Version]) -> str:
    """Say in one sentence which teachers, and which versions of them, make a case agreed or a conflict."""
    return render.paragraph(
        split_sentence([one._asdict() | {"name": one.teacher} for one in versions]), "split-line"
    )


def figures_panel(
    figures: TeacherFigures,
    calibration: Calibration,
    only_right: Sequence[CaseView],
    last_found: Mapping[str, Any],
) -> str:
    """Draw a teacher's figures; `only_right` are some of the cases, `last_found` is what runs measured."""
    measured = _part("What runs measured", _measured(figures.kind, last_found))
    if not figures.opinions:
        none = "No opinion of this teacher counts yet, so there are no figures."
        if not figures.active:
            none = "It is retired: its opinions stay and do not count, so there are no figures."
        return f'<div class="figures">{render.paragraph(none, "figures-none")}{measured}</div>'
    said = _part("What it says", _verdicts(figures))
    right = _part("How often it is right", _right(figures))
    beside = _part("Beside the others", _beside(figures))
    sure = _part("How sure it says it is", _sure(calibration))
    alone = _part(_alone_title(figures), _alone(figures, only_right))
    return (
        f'<div class="figures"><div class="figures-column">{said}{right}{beside}</div>'
        f'<div class="figures-column">{sure}{measured}</div><div class="figures-wide">{alone}</div></div>'
    )


def _part(title: str, inner: str) -> str:
    return f'<section class="figures-part"><h3>{escape(title)}</h3>{inner}</section>'


def _verdicts(figures: TeacherFigures) -> str:
    """Draw one bar cut by verdict, and say in words what its pieces are."""
    shares = [(answer, number, number / figures.opinions) for answer, number in figures.verdicts.items()]
    bar = render.verdict_bar({answer: share for answer, _, share in shares})
    words = "".join(
        f"<li>{render.verdict_chip(answer, share)} <small>{render.count(number)}</small></li>"
        for answer, number, share in shares
    )
    counted = render.counted(figures.opinions, "opinion")
    return (
        f'{bar}<ul class="figures-shares">{words}</ul>'
        f"{render.paragraph(f'Of {counted} that count.', 'figures-note')}"
    )


def _right(figures: TeacherFigures) -> str:
    """Set accuracy by gold and by people, whole and by verdict, in one table."""
    rows = _judged_rows("gold verdicts", figures.by_gold) + _judged_rows("people", figures.by_people)
    note = "An unsure opinion is never right."
    return _table(("held against", "right", "unsure", "cases"), rows) + render.paragraph(note, "figures-note")


def _judged_rows(by: str, judged: Judged) -> str:
    whole = judged.accuracy
    if whole.value is None:
        return _row(by, [_why(whole, 3)])
    unsure = sum((one.unsure.value or 0.0) * one.unsure.cases for one in judged.per_verdict) / whole.cases
    rows = _judged_row(by, whole, unsure, "whole")
    for one in judged.per_verdict:
        if one.right.value is not None:
            rows += _judged_row(f"… {render.verdict_words(one.verdict)}", one.right, one.unsure.value or 0.0)
    return rows


def _judged_row(name: str, right: Figure, unsure: float, css_class: str = "") -> str:
    cells = (_with_interval(right), render.percent(unsure), render.count(right.cases))
    return _row(name, map(_cell, cells), css_class)


def _sure(calibration: Calibration) -> str:
    """Draw how often it is right by how sure it says it is, as a diagram and as a table."""
    if calibration.error is None or calibration.said is None or calibration.right is None:
        return render.paragraph(calibration.why or "", "figures-none")
    bins = [asdict(one) for one in calibration.bins]
    facts = render.facts(
        [
            (f"{calibration.said:.2f}", "how sure it says it is, on average"),
            (f"{calibration.right:.2f}", "how often it is right"),
            (f"{calibration.error:.2f}", "calibration error: 0 is a confidence one can take at its word"),
        ]
    )
    rows = "".join(
        _row(
            f"{one.low:.1f} to {one.high:.1f}",
            [
                _cell(f"{one.said:.2f}"),
                _cell(f"{1 - one.wrong / one.cases:.2f}"),
                _cell(render.count(one.cases)),
            ],
        )
        for one in calibration.bins
    )
    heads = ("confidence", "how sure it says it is", "how often it is right", "cases")
    of = f"Over {render.counted(calibration.cases, 'opinion')} with a confidence, of the newest "
    of += f"{render.count(calibration.looked_at)} that reach a verdict where the truth is known."
    return (
        f"{facts}{confidence_chart(bins)}<details><summary>The diagram as a table</summary>"
        f"{_table(heads, rows)}</details>{render.paragraph(of, 'figures-note')}"
    )


def _beside(figures: TeacherFigures) -> str:
    """Set how far it goes together with each other teacher, and with people, in one table."""
    rows = "".join(_beside_row(other.name, other.together) for other in figures.others)
    if figures.with_rulings.cases:
        cells = [_cell(render.count(figures.with_rulings.cases)), _cell(""), _kappa(figures.with_rulings)]
        rows += _row("people's rulings", cells)
    if not rows:
        none = "No other teacher that counts has answered a case it answered."
        return render.paragraph(none, "figures-none")
    note = "Kappa: 1 is full agreement, 0 what chance gives."
    heads = ("", "cases in common", "differ", "kappa")
    return _table(heads, rows) + render.paragraph(note, "figures-note")


def _beside_row(name: str, found: Together) -> str:
    cells = (render.count(found.cases), render.percent(found.conflict_rate))
    return _row(name, [*map(_cell, cells), _kappa(found.kappa)])


def _kappa(kappa: Figure) -> str:
    return _why(kappa, 1) if kappa.value is None else _cell(_with_interval(kappa, decimals=2))


def _alone_title(figures: TeacherFigures) -> str:
    if not figures.only_right:
        return "Where it alone is right"
    return f"Only it was right on {render.counted(figures.only_right, 'case')}"


def _alone(figures: TeacherFigures, cases: Iterable[CaseView]) -> str:
    """Show cases on which every other teacher was wrong or unsure, the newest first."""
    if not figures.compared:
        none = "No case whose truth is known has its opinion and another teacher's."
        return render.paragraph(none, "figures-none")
    of = f"Of {render.counted(figures.compared, 'case')} whose truth is known and that others answered, too, "
    wrong = f"it alone was wrong on {render.count(figures.only_wrong)}"
    if not figures.only_right:
        return render.paragraph(f"{of}it alone was right on none; {wrong}.", "figures-note")
    shown = "".join(_case(view) for view in cases)
    return f'{render.paragraph(f"{of}{wrong}.", "figures-note")}<ul class="figures-cases">{shown}</ul>'


def _case(view: CaseView) -> str:
    address = thumbnail_url(view.image_sha256)
    picture = '<span class="figures-blank">no picture</span>'
    if address is not None:
        picture = f'<img src="{escape(address)}" alt="" loading="lazy">'
    return (
        f'<li><a href="?case={view.id}">{picture}<span class="figures-caption" dir="auto">'
        f"{escape(view.caption)}</span></a></li>"
    )


def _measured(kind: TeacherKind, found: Mapping[str, Any]) -> str:
    """Say whether the picture matters to it, and whether the order in which verdicts are offered does."""
    if kind in NOT_ASKED_HERE and not found:
        none = "It is not asked here, so no run could tell whether it looks at the picture."
        return render.paragraph(none, "figures-none")
    return f'<ul class="figures-measured"><li>{_sight(found)}</li><li>{_order(found)}</li></ul>'


def _sight(found: Mapping[str, Any]) -> str:
    sight = found.get("sight")
    if not sight:
        return "No run has looked yet whether it needs the picture."
    said = escape(str(sight.get("said") or "It was looked at, and nothing was written down."))
    return f"<b>Ignores the picture:</b> {said}" if sight.get("ignores_image") else said


def _order(found: Mapping[str, Any]) -> str:
    flip = found.get("flip")
    if not flip or not flip.get("compared"):
        return "Nobody has tried yet whether the order in which the verdicts are offered matters to it."
    compared, changed = int(flip["compared"]), int(flip["changed"])
    verdicts, share = render.counted(compared, "verdict"), render.percent(changed / compared)
    said = f"With the verdicts offered the other way round, {render.count(changed)} of {verdicts} changed"
    return escape(f"{said} ({share}).")


def _table(heads: Sequence[str], rows: str) -> str:
    named = "".join(f'<th scope="col">{escape(head)}</th>' if head else "<td></td>" for head in heads)
    return f'<table class="figures-table"><thead><tr>{named}</tr></thead><tbody>{rows}</tbody></table>'


def _row(name: str, cells: Iterable[str], css_class: str = "") -> str:
    return f'<tr class="{css_class}"><th scope="row" dir="auto">{escape(name)}</th>{"".join(cells)}</tr>'


def _cell(inner: str) -> str:
    return f"<td>{inner}</td>"


def _why(figure: Figure, columns: int) -> str:
    return f'<td colspan="{columns}" class="figures-why">{escape(figure.why or "")}</td>'


def _with_interval(figure: Figure, decimals: int = 3) -> str:
    """Write a figure with its interval in brackets: already HTML."""
    if figure.value is None:
        return escape(figure.why or "")
    bounds = "" if figure.interval is None else ", ".join(f"{end:.{decimals}f}" for end in figure.interval)
    shown = f" <small>[{bounds}]</small>" if bounds else ""
    return f"{figure.value:.{decimals}f}{shown}"
