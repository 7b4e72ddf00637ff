"""Schedules that count steps and were given epochs, or the steps of another job."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from mxspark.job import schedule_span

STEPS, EPOCHS = 100, 30


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("cosine", {"max_update": 3000}, None),
        ("cosine", {"max_update": 2900}, None),
        ("cosine", {"max_update": 30}, "cosine leaves a learning rate of 0 from step 30 of 3,000 on; a schedule counts "
                                       "steps, of which an epoch has 100, and all 30 have 3,000"),
        ("poly", {"max_update": 2000}, "poly leaves a learning rate of 0 from step 2,000 of 3,000 on"),
        ("poly", {"max_update": 2000, "final_lr": 0.01}, None),
        ("poly", {"max_update": 200, "final_lr": 0.01}, "leaves a learning rate of 0.01 from step 200 of 3,000 on"),
        ("cosine", {"max_update": 10000}, None),
        ("cosine", {"max_update": 90000}, "goes down over 90,000 steps, and ends at 3,000"),
        ("multifactor", {"step": [1000, 2000], "factor": 0.1}, None),
        ("multifactor", {"step": [1000, 9000], "factor": 0.1}, None),
        ("multifactor", {"step": (10, 20), "factor": 0.1}, "the learning rate for the last time at step 20 of 3"),
        ("multifactor", {"step": [5000], "factor": 0.1}, "first changes the learning rate at step 5,000 of 3,00"),
        ("multifactor", {"step": [1000]}, "never changes the learning rate, as its factor is 1 unless set"),
        ("factor", {"step": 100, "factor": 0.9}, None),
        ("factor", {"step": 1, "factor": 0.9}, "leaves 2e-14 of the learning rate after a tenth of 3,000 steps"),
        ("factor", {"step": 5000, "factor": 0.9}, "first changes the learning rate at step 5,000 of 3,000, "),
        ("factor", {"step": 100}, "never changes the learning rate, as its factor is 1 unless set"),
        ("factor", {"step": 1, "warmup_steps": 50}, None),
        ("poly", {"max_update": 3000, "warmup_steps": 300}, None),
        ("poly", {"max_update": 9000, "warmup_steps": 3000}, "warms up for 3,000 steps of 3,000; a schedule counts"),
    ],
)  # fmt: skip
def test_a_schedule_for_other_steps_is_said(name: str, options: dict[str, Any], says: Optional[str]) -> None:
    found = schedule_span.remark(name, options, STEPS, EPOCHS)
    assert (says in (found or "")) if says else found is None, found


def test_jobs_of_a_few_steps_are_not_spoken_of_where_nothing_is_wrong() -> None:
    for name, options in (("factor", {"step": 1, "factor": 0.5}), ("cosine", {"max_update": 2})):
        assert schedule_span.remark(name, options, 1, 2) is None
