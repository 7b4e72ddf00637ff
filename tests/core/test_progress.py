"""The bar in a terminal: what is over leaves it, and what is to be known stays above it."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from mxspark.errors.cause import Cause
from mxspark.protocol.events import Beat, Done, EpochEnd, Event, Preparing, Reported, Restarting, RoleEnded
from mxspark.report.progress import Bar, Lines
from mxspark.report.title import Title

KILLED = Cause("role", "worker", 1, "h", 7, "killed by SIGKILL", signal="SIGKILL")


class Screen:
    """A terminal that keeps what was written."""

    def __init__(self, every_s: float = 0.0) -> None:
        self.file = io.StringIO()
        self.bar = Bar(Console(file=self.file, force_terminal=True, width=100, _environ={}), every_s)
        self.bar.begin(10, 2, 0)

    def show(self, event: Event, role: str = "worker", rank: int = 0) -> None:
        self.bar.show(Reported(role, rank, event))

    def now(self) -> str:
        """Return the line of the bar."""
        self.bar._bar.refresh()
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.file.getvalue()).split("\r")[-1]

    def above(self) -> list[str]:
        """Return the lines that stay."""
        self.bar.close()
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.file.getvalue())
        return [line.rpartition("\r")[2] for line in plain.split("\n") if line.rpartition("\r")[2].strip()]


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_a_restart_takes_the_bar_back_and_is_told_above_it(screen: Screen) -> None:
    screen.show(Beat(9, 0, 1, 1.0, 0.0, "waiting for the commit of a checkpoint"))
    assert "waiting for the commit of a checkpoint" in screen.now() and "9/20" in screen.now()
    screen.show(RoleEnded("worker", 1, 7, -9, False, ""), "agent", 1)
    assert "worker 1 has ended" in screen.now()
    screen.show(Restarting(2, "in place", 2, 5, 9, 0.0, KILLED), "driver")
    told = (
        "attempt 1 failed at step 9: worker 1 on h (pid 7): killed by SIGKILL; attempt 2 goes on from step 5 [x] [/y]"
    )
    screen.bar.phase(told)
    assert "starting again" in screen.now() and " 5/20" in screen.now()
    screen.show(Beat(6, 0, 1, 1.0, 0.0))
    assert "training" in screen.now() and " 6/20" in screen.now()
    assert told in screen.above()


def test_what_a_worker_does_before_its_first_step_is_shown(screen: Screen, capsys: pytest.CaptureFixture[str]) -> None:
    screen.show(Preparing(25, 100))
    assert "looking at ids 25%" in screen.now()
    lines = Lines(0.0, sys.stderr)
    lines.show(Reported("worker", 0, Preparing(2500, 10000)))
    assert capsys.readouterr().err == "mxspark: looking at ids: 2,500 of 10,000 rows of worker 0\n"


def test_the_last_work_of_a_worker_does_not_stay_to_the_end(screen: Screen) -> None:
    screen.show(EpochEnd(0, 10, 5, 1.0, {"f1[a]": 0.5}, {}))
    screen.show(Beat(20, 1, 1, 1.0, 0.0, "saving"))
    screen.show(RoleEnded("worker", 1, 7, 0, True, ""), "agent", 1)
    assert "saving" in screen.now()
    screen.show(Done(20, "", {}))
    assert "finishing" in screen.now() and "20/20" in screen.now()
    assert "epoch 1  f1[a] 0.5000  5 rows/s" in screen.above()


def test_epochs_that_are_quicker_than_lines_may_come_are_left_out_but_for_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("mxspark.report.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    out = io.StringIO()
    screen, lines = Screen(10.0), Lines(10.0, out)
    lines.begin(10, 2, 0)
    for epoch, at in enumerate((0.1, 10.0, 10.1, 15.0, 20.5, 20.6)):
        now[0] = at
        event = EpochEnd(epoch, 4 * epoch, 5, 1.0, {}, {})
        screen.show(event)
        lines.show(Reported("worker", 0, event))
    shown = ["epoch 2", "epoch 5", "epoch 6"]  # of 20 steps
    assert [line.partition("  ")[0] for line in screen.above() if line.startswith("epoch")] == shown
    assert [line.removeprefix("mxspark: ")[:7] for line in out.getvalue().splitlines()] == shown


def test_short_words_of_the_user_are_no_markup(screen: Screen) -> None:
    screen.bar.phase("[/dev/shm] is full")
    assert "[/dev/shm] is full" in screen.now()


def test_lines_of_several_trainings_in_one_process_are_told_apart() -> None:
    out = io.StringIO()
    with Title("a", "runs/a") as first, Title("b", "runs/b") as second:
        for title in (first, second):
            Lines(0.0, out, title).phase("spooling")
        with Title("a", "runs/c") as third:
            Lines(0.0, out, third).phase("training")
            Lines(0.0, out, first).phase("training")
    with first:
        Lines(0.0, out, first).phase("alone")
    assert out.getvalue().splitlines() == [
        *("mxspark: a: spooling", "mxspark: b: spooling", "mxspark: runs/c: training", "mxspark: runs/a: training"),
        "mxspark: alone",
    ]
