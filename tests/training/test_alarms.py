from typing import Any

from training.alarms import LOSS_ZERO, MARGIN, ROWS, AlarmKind, alarms, fall_of_chosen

Rows = list[dict[str, Any]]


def rows(stage: str, **figures: list[float]) -> Rows:
    """Make logged steps of figures by name."""
    columns = zip(*figures.values(), strict=True)
    return [
        {"stage": stage, "step": step, **dict(zip(figures, values, strict=True))}
        for step, values in enumerate(columns, 1)
    ]


def kinds(logged: Rows) -> set[AlarmKind]:
    return {alarm.kind for alarm in alarms(logged)}


def test_nothing_logged_is_no_alarm() -> None:
    assert kinds([]) == set()
    assert kinds(rows("sft", loss=[0.0])) == set(), "one step without loss may be a lucky one"


def test_a_loss_of_nothing_for_many_steps_is_an_alarm_that_says_what_to_look_at() -> None:
    logged = rows("sft", loss=[0.5] + [LOSS_ZERO / 2] * ROWS)
    (alarm,) = alarms(logged)
    assert (alarm.kind, alarm.stage, alarm.step) == (AlarmKind.LOSS_ZERO, "sft", ROWS + 1)
    assert "leak" in alarm.said
    assert kinds(logged[:-1]) == set()
    assert kinds([*logged, {"stage": "sft", "step": 99, "loss": 0.1}]) == set()


def test_a_margin_beyond_its_bound_is_an_alarm() -> None:
    grown = [float(step) for step in range(int(MARGIN) + 1, int(MARGIN) + 1 + ROWS)]
    assert kinds(rows("dpo", loss=[0.3] * ROWS, margin=grown)) == {AlarmKind.MARGIN}
    assert kinds(rows("dpo", loss=[0.3] * ROWS, margin=[MARGIN - 1] * ROWS)) == set()


def test_chosen_rationales_that_become_unlikely_are_an_alarm() -> None:
    collapsing = [-30.0 - 2 * step for step in range(4 * ROWS)]
    logged = rows("dpo", loss=[0.3] * 4 * ROWS, logp_chosen=collapsing)
    assert kinds(logged) == {AlarmKind.CHOSEN_COLLAPSE}
    assert fall_of_chosen(logged) == (-34.0, -64.0)
    assert kinds(logged[: 2 * ROWS - 1]) == set(), "too few steps to tell"


def test_what_the_demo_shows_is_no_alarm() -> None:
    margins = [0.0, 0.6, 1.1, 1.5, 1.9, 2.2, 2.5, 2.7, 2.9, 2.9]
    chosen = [-9.5, -9.3, -9.2, -9.0, -9.0, -8.9, -8.8, -8.7, -8.0, -7.2]
    assert kinds(rows("dpo", loss=[0.5] * 10, margin=margins, logp_chosen=chosen)) == set()
