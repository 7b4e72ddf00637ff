"""The worker that the others wait for is named, once, and nobody else."""

from __future__ import annotations

from typing import Optional

import pytest

from mxspark.protocol.events import Beat, Straggler
from mxspark.spark.run import stragglers
from mxspark.spark.run.stragglers import WINDOW_S, Watch


def beat(second: float, meeting: float, reading: float = 0.0, step: Optional[int] = None) -> Beat:
    """Return the beat at `second` of a worker that waits for others, and for rows, these shares of its time."""
    taken = int(second) if step is None else step
    return Beat(taken, 0, 1, second, reading * second, meeting_s=meeting * second)


def run(watch: Watch, seconds: int, *shares: tuple[float, float]) -> list[Straggler]:
    found = []
    for second in range(seconds + 1):
        for rank, (meeting, reading) in enumerate(shares):
            said = watch.hear(rank, beat(float(second), meeting, reading))
            found += [said] if said is not None else []
    return found


def test_the_one_the_others_wait_for_is_named_once() -> None:
    (found,) = run(Watch(3), 60, (0.6, 0.0), (0.02, 0.5), (0.5, 0.0))
    assert (found.rank, found.waited, found.reading) == (1, 0.5, 0.5) and found.window_s >= WINDOW_S
    assert "worker 1 on node7 is slow: the others waited for it 50%" in stragglers.words(found, "node7")
    assert "waits for its rows" in stragglers.words(found, "node7")


@pytest.mark.parametrize(
    "shares",
    [
        [(0.1, 0.0), (0.1, 0.0)],
        [(0.3, 0.0), (0.02, 0.0)],  # the others wait, but not for long
        [(0.5, 0.0), (0.4, 0.0), (0.45, 0.0)],  # all wait: for another host
        [(0.6, 0.0), (0.02, 0.0), (0.02, 0.0)],  # two are slow: the job is
        [(0.0, 0.9)],
    ],
)
def test_nobody_is_named(shares: list[tuple[float, float]]) -> None:
    assert run(Watch(len(shares)), 60, *shares) == []


def test_one_that_comes_and_goes_is_not_named_every_time() -> None:
    """Half an hour of windows in turn: somebody is slow, nobody is; then the other one too."""
    watch, found, waited = Watch(2), [], [0.0, 0.0]
    for second in range(1801):
        slow = (second // 10 % 4) // 2 if second // 10 % 2 == 0 else None
        for rank in (0, 1):
            waited[rank] += 0.9 if slow is not None and rank != slow else 0.0
            said = watch.hear(rank, Beat(second, 0, 1, float(second), 0.0, meeting_s=waited[rank]))
            found += [said.rank] if said is not None else []
    assert 2 <= found.count(0) <= 6 and 2 <= found.count(1) <= 6, found


def test_nobody_is_named_where_one_cannot_tell_how_long_it_waited() -> None:
    watch = Watch(3)
    for second in range(60):
        for rank, meeting in enumerate((0.6 * second, None, 0.6 * second)):
            assert watch.hear(rank, Beat(second, 0, 1, float(second), 0.0, meeting_s=meeting)) is None


def test_it_takes_a_whole_window() -> None:
    assert run(Watch(2), int(WINDOW_S) - 1, (0.9, 0.0), (0.0, 0.0)) == []
    assert run(Watch(2), int(WINDOW_S), (0.9, 0.0), (0.0, 0.0))


def test_another_one_is_named_too_and_the_same_again_after_long() -> None:
    watch = Watch(2)
    assert [found.rank for found in run(watch, 400, (0.9, 0.0), (0.0, 0.0))] == [1, 1]
    # a new attempt: seconds and steps start anew
    assert [found.rank for found in run(watch, 30, (0.0, 0.0), (0.9, 0.0))] == [0]
