"""Draw what is being done with a teacher: how far it is, how it ended, and a dry run whole.

Pure; every text goes through `escape`. What comes from a board is another process's word: what is missing
in it is left out.
"""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from db.vocabulary import Answer
from ooc_app import render
from ooc_app.teach_board import FAILED, Deed, Standing
from ooc_app.teach_panel import DASH

Figures = Mapping[str, Any]

FIRST_LINES: Final = 4  # of what was sent that are not folded away
TITLES: Final = {
    Deed.RUN: "Asking",
    Deed.REHEARSE: "Dry run",
    Deed.FLIP: "Order test",
    Deed.RETIRE: "Retiring",
    Deed.REINSTATE: "Reinstating",
}
LAST_TITLES: Final = {
    Deed.RUN: "Last run",
    Deed.REHEARSE: "Dry run",
    Deed.FLIP: "Order test",
    Deed.RETIRE: "Retired",
    Deed.REINSTATE: "Reinstated",
}
AS_WANTED: Final = ("all", "cases")  # ends that need no word in a dry run or an order test
UNREAD_WORDS: Final = {
    "refused": "declined",
    "empty": "empty",
    "too_long": "too long",
    "unparsed": "no opinion in it",
}
WRONG: Final = (FAILED, "teacher", "alarm")


def work_panel(standing: Standing | None) -> str:
    """Draw what goes on, or how the last thing ended; nothing where nothing is known."""
    if standing is None:
        return ""
    return going_panel(standing) if standing.going else ended_panel(standing)


def going_panel(standing: Standing) -> str:
    """Draw how far it is."""
    figures = standing.figures or {}
    done, total = int(figures.get("kept") or 0), figures.get("total")
    of = f' max="{max(1, int(total))}" value="{min(done, int(total))}"' if total else ""
    words = f"{render.count(done)} of {render.count(int(total))}" if total else f"{render.count(done)} done"
    share = f" ({render.percent(min(1.0, done / total), 0)})" if total else ""
    return (
        f'<section class="teach-work" aria-label="What goes on"><div class="teach-title">'
        f'<h3>{TITLES[standing.deed]}</h3><button type="button" data-deed="stop">Stop</button></div>'
        f'<progress aria-label="{TITLES[standing.deed]}"{of}></progress>'
        f'<p class="teach-words"><b>{words}</b>{share}{_pace(figures)}</p>{_figures(figures)}</section>'
    )


def ended_panel(standing: Standing) -> str:
    """Draw how it ended, and the way on."""
    outcome = standing.outcome or {}
    tone = "warning" if standing.why in WRONG else "plain"
    draw = {Deed.RUN: _run_end, Deed.REHEARSE: rehearsal_panel, Deed.FLIP: _flip_end}.get(standing.deed)
    drawn = draw(outcome, standing) if draw is not None else ""
    figures = (
        _figures(standing.figures or {}, signs=standing.why != "alarm") if standing.deed is Deed.RUN else ""
    )
    is_plain = standing.deed in (Deed.REHEARSE, Deed.FLIP) and standing.why in AS_WANTED
    said = "" if is_plain else render.notice(standing.said or "It has ended.", tone)
    return (
        '<section class="teach-work" aria-label="What was done last">'
        f'<div class="teach-title"><h3>{LAST_TITLES[standing.deed]}</h3>'
        '<button type="button" data-deed="forget">Dismiss</button></div>'
        f"{said}{figures}{drawn}</section>"
    )


def _pace(figures: Figures) -> str:
    rate, left = figures.get("rate"), figures.get("seconds_left")
    said = ""
    if rate:
        said = f" &middot; {rate:.1f} a second" if rate >= 1 else f" &middot; {rate * 60:.1f} a minute"
    return said + (f" &middot; {render.duration(left)} left" if left is not None else "")


def _figures(figures: Figures, *, signs: bool = True) -> str:
    """Draw what has come so far: verdicts, what could not be read, seconds, tokens, money, alarms."""
    if "verdicts" not in figures:
        return ""
    unread = {UNREAD_WORDS.get(why, why): n for why, n in (figures.get("unread") or {}).items() if n}
    reasons = ", ".join(f"{render.count(n)} {why}" for why, n in unread.items())
    confidence, seconds = figures.get("mean_confidence"), figures.get("seconds_each")
    tokens = int(figures.get("tokens_in") or 0) + int(figures.get("tokens_out") or 0)
    facts = [
        ("could not be read" + (f" ({reasons})" if reasons else ""), render.count(sum(unread.values()))),
        ("mean confidence", DASH if confidence is None else f"{confidence:.2f}"),
        ("each", DASH if seconds is None else f"{seconds:.1f} s"),
        ("tokens", render.count(tokens)),
        ("USD", render.money(float(figures.get("cost") or 0))),
    ]
    listed = "".join(f"<li><b>{figure}</b> {escape(what)}</li>" for what, figure in facts)
    told = (figures.get("signs") or []) if signs else []
    # no live region: it is drawn anew each second, and would be read out as often
    warnings = "".join(render.paragraph(str(sign.get("said")), "notice warning") for sign in told)
    return f'{shares_bar(figures["verdicts"])}<ul class="facts">{listed}</ul>{warnings}'


def shares_bar(verdicts: Mapping[str, int]) -> str:
    """Draw the shares of the verdicts as one bar, and in words."""
    whole = sum(verdicts.values())
    if not whole:
        return f'{render.verdict_bar({})}<p class="teach-legend">no answer yet</p>'
    shares = {answer.value: verdicts.get(answer.value, 0) / whole for answer in Answer}
    words = "".join(
        f"<span>{render.verdict_chip(name)} {render.percent(share, 0)}</span>"
        for name, share in shares.items()
    )
    return f'{render.verdict_bar(shares)}<p class="teach-legend">{words}</p>'


def _run_end(outcome: Figures, standing: Standing) -> str:
    kept, asked = outcome.get("kept"), outcome.get("asked")
    lines = []
    if kept is not None and asked is not None:
        of = render.counted(int(asked), "case")
        lines.append(f"{render.counted(int(kept), 'opinion')} kept, of {of} asked about.")
    lines += [f"No answer: {render.counted(n, 'case')}, {why}." for why, n in _counts(outcome, "failed")]
    lines += [
        f"Passed over: {render.counted(n, 'case')}, {why}." for why, n in _counts(outcome, "passed_over")
    ]
    if outcome.get("without_picture"):
        lines.append(
            f"Left out: {render.counted(int(outcome['without_picture']), 'case')} without a picture."
        )
    if outcome.get("sight") and outcome["sight"] != standing.said:
        lines.append(str(outcome["sight"]))
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (f'<ul class="teach-lines">{items}</ul>' if items else "") + _way_on(outcome, standing)


def _way_on(outcome: Figures, standing: Standing) -> str:
    left = outcome.get("left")
    if left == 0:
        return ""
    words = "Go on" if left is None else f"Go on with the {render.count(int(left))} left"
    if standing.why == "alarm":
        return (
            '<p class="teach-deeds"><button type="button" data-deed="go-on">Go on anyway</button>'
            '<span class="teach-soft">Read some of the answers first; this asks on, within the limits given '
            "above, whatever they look like. What it said counts until it is retired.</span></p>"
        )
    button = f'<button type="button" class="teach-main" data-deed="run">{words}</button>'
    return f'<p class="teach-deeds">{button}<span class="teach-soft">within the limits given above</span></p>'


def _counts(outcome: Figures, name: str) -> list[tuple[str, int]]:
    return [(str(why), int(n)) for why, n in (outcome.get(name) or {}).items()]


def _flip_end(outcome: Figures, standing: Standing) -> str:
    compared, changed = int(outcome.get("compared") or 0), int(outcome.get("changed") or 0)
    if not compared:
        return ""
    share = render.percent(changed / compared, 0)
    pairs = "".join(_turned(one) for one in outcome.get("verdicts") or [] if one["usual"] != one["turned"])
    return (
        f"<p><b>{render.count(changed)} of {render.counted(compared, 'verdict')}</b> changed with the order "
        f'({share}); nothing of it is kept.</p><ul class="teach-lines">{pairs}</ul>'
    )


def _turned(one: Figures) -> str:
    became = f"{render.verdict_chip(str(one['usual']))} became {render.verdict_chip(str(one['turned']))}"
    return f"<li>{became} in {render.counted(int(one['cases']), 'case')}</li>"


# ---- the dry run ----


def rehearsal_panel(outcome: Figures, standing: Standing) -> str:
    """Draw three cases in full: what was sent, what came back, how it was read; and what all would take."""
    cases = outcome.get("cases") or []
    if not cases:
        return '<p class="teach-soft">There is no case left that this teacher could be asked about.</p>'
    failed = "".join(
        f"<li>No answer: {render.counted(n, 'case')}, {escape(why)}.</li>"
        for why, n in _counts(outcome, "failed")
    )
    missed = f'<ul class="teach-lines">{failed}</ul>' if failed else ""
    drawn = "".join(_case(number, one) for number, one in enumerate(cases, start=1))
    return f'{estimate(outcome)}{missed}<div class="teach-cases">{drawn}</div>'


def estimate(outcome: Figures) -> str:
    """Say what all missing cases would cost and take, as these few did."""
    cost, seconds = outcome.get("estimated_cost"), outcome.get("estimated_seconds")
    missing = int(outcome.get("missing") or 0)
    if cost is None or seconds is None or not missing:
        return ""
    price = render.price_words(cost)
    takes = render.time_words(seconds, outcome.get("estimated_seconds_at_most"))
    rest = outcome.get("without_picture")
    left_out = f" {render.counted(int(rest), 'case')} without a picture would be left out." if rest else ""
    return (
        f'<p class="teach-estimate">All {render.counted(missing, "missing case")} would take '
        f"<b>{takes}</b> and cost <b>{price}</b>.{left_out}</p>"
    )


def _case(number: int, one: Figures) -> str:
    answer = one.get("answer")
    picture = '<p class="teach-soft">no picture</p>'
    if one.get("image"):
        source = f"/desk/images/{escape(str(one['image']))}"
        picture = f'<img src="{source}" alt="picture of case {number}" loading="lazy">'
    caption = escape(str(one.get("caption") or ""))
    if one.get("case_id") is not None:
        caption = f'<a href="?case={int(one["case_id"])}">{caption}</a>'
    came = '<p class="teach-soft">nothing</p>'
    if answer is not None:
        came = f'<pre tabindex="0" aria-label="answer {number}">{escape(str(answer.get("raw") or ""))}</pre>'
    return (
        f'<article class="teach-case" aria-label="case {number}"><figure>{picture}<figcaption>{caption}'
        f"</figcaption></figure><div><h4>Read as</h4>{_read(answer)}<h4>Came back</h4>{came}"
        f"<h4>Was sent</h4>{_sent(number, str(one.get('sent') or ''))}</div></article>"
    )


def _read(answer: Figures | None) -> str:
    if answer is None:
        return '<p class="teach-soft">no answer to read</p>'
    parsed = answer.get("parsed")
    if parsed is None:
        why = UNREAD_WORDS.get(str(answer.get("unread")), "no opinion in it")
        read = render.notice(
            f"Could not be read ({why}): it would be kept as it came, as can't tell.", "warning"
        )
    else:
        elements = ", ".join(str(one) for one in parsed.get("elements") or [])
        named = f' <span class="teach-soft">does not fit: {escape(elements)}</span>' if elements else ""
        chip = render.verdict_chip(str(parsed.get("verdict")), parsed.get("confidence"))
        read = (
            f"<p>{chip}{named}</p>{render.paragraph(str(parsed.get('rationale') or ''), 'teach-rationale')}"
        )
    return read + f'<p class="teach-soft">{escape(_took(answer))}</p>'


def _took(answer: Figures) -> str:
    tokens = " + ".join(
        "?" if n is None else render.count(n) for n in (answer.get("tokens_in"), answer.get("tokens_out"))
    )
    tries = answer.get("tries") or 1
    again = f", {tries} tries" if tries > 1 else ""
    seconds, cost = float(answer.get("seconds") or 0), float(answer.get("cost") or 0)
    return f"{tokens} tokens, {seconds:.1f} s, {cost:.5f} USD{again}, by {answer.get('model')}"


def _sent(number: int, sent: str) -> str:
    lines = sent.split("\n")
    first, rest = "\n".join(lines[:FIRST_LINES]), "\n".join(lines[FIRST_LINES:])
    more = ""
    if rest:
        folded = render.counted(len(lines) - FIRST_LINES, "more line")
        more = (
            f'<details data-fold="sent-{number}"><summary>{folded}</summary>'
            f'<pre tabindex="0" aria-label="question {number}">{escape(rest)}</pre></details>'
        )
    return f"<pre>{escape(first)}</pre>{more}"
