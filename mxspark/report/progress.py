"""Live progress: a bar in a terminal or notebook, plain lines in a log. One hook: :meth:`Progress.show`."""

from __future__ import annotations

import sys
import time
from typing import Optional, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from mxspark.errors.spelling import short_names
from mxspark.protocol.events import Beat, Done, EpochEnd, Event, Preparing, Reported, Restarting, RoleEnded
from mxspark.report.title import Title
from mxspark.system.stdio import protected

#: How many characters of a phase have room beside the bar.
_BESIDE = 40


class Progress(Protocol):
    """Shows how far a run has come."""

    def phase(self, text: str) -> None:
        """Say what happens now."""

    def begin(self, steps_per_epoch: int, epochs: int, done: int) -> None:
        """Training starts: `done` of ``steps_per_epoch * epochs`` steps are behind us."""

    def show(self, reported: Reported) -> None:
        """Take one event."""

    def close(self) -> None:
        """Leave the screen in order."""


def make(kind: str, every_s: float, title: Optional[Title] = None) -> Progress:
    """Return the progress display for ``report.progress``, of the training that has this title."""
    title = title or Title()
    out = protected(sys.stderr)
    console = Console(file=out)
    if kind == "auto":
        kind = "bar" if console.is_terminal or console.is_jupyter else "lines"
    if kind == "bar":
        return Bar(console, every_s, title)
    return Lines(every_s, out, title) if kind == "lines" else Silent()


def say_before(kind: str, text: str) -> None:
    """Print a line of a run that has no display yet: what takes long before its first phase."""
    if kind != "off":
        make("lines", 0.0).phase(text)


def words(metrics: dict[str, float]) -> str:
    """Return ``loss 0.1234  accuracy 0.9876``."""
    short = short_names(metrics)
    return "  ".join(f"{short[name]} {value:.4f}" for name, value in metrics.items())


def epoch_words(event: EpochEnd) -> str:
    """Return one line on a finished epoch."""
    parts = [f"epoch {event.epoch + 1}", words(event.training)]
    if event.validation:
        parts.append("validation " + words(event.validation))
    if event.seconds > 0:
        parts.append(f"{event.rows / event.seconds:,.0f} rows/s")
    return "  ".join(parts)


class Silent:
    """Shows nothing."""

    def phase(self, text: str) -> None:
        """Ignore the phase."""

    def begin(self, steps_per_epoch: int, epochs: int, done: int) -> None:
        """Ignore the start."""

    def show(self, reported: Reported) -> None:
        """Ignore the event."""

    def close(self) -> None:
        """Nothing to leave in order."""


class Pace:
    """Lets lines through that are `every_s` seconds apart."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Tell whether it is time for a line."""
        return time.monotonic() - self._last >= self._every_s

    def note(self) -> None:
        """Count from here: a line was shown."""
        self._last = time.monotonic()


class Lines(Silent):
    """One line a phase, and at most one every `every_s` seconds in between; the last epoch always has one."""

    def __init__(self, every_s: float, out: TextIO, title: Optional[Title] = None) -> None:
        self._pace = Pace(every_s)
        self._out = out
        self._title = title or Title()
        self._steps = 0

    def phase(self, text: str) -> None:
        """Print the phase."""
        self._line(text)

    def begin(self, steps_per_epoch: int, epochs: int, done: int) -> None:
        """Remember how many steps there are."""
        self._steps = steps_per_epoch * epochs

    def show(self, reported: Reported) -> None:
        """Print rank 0's epochs and beats now and then."""
        event = reported.event
        if reported.role != "worker" or reported.rank != 0:
            return
        if not self._pace.is_due() and not _is_last(event, self._steps):
            return
        if isinstance(event, EpochEnd):
            self._line(epoch_words(event))
        elif isinstance(event, Beat):
            self._line(f"step {event.step} of {self._steps}  {event.doing}  {words(event.metrics)}")
        elif isinstance(event, Preparing):
            self._line(f"looking at ids: {event.done:,} of {event.total:,} rows of worker 0")

    def _line(self, text: str) -> None:
        self._pace.note()
        print(f"mxspark: {self._title.over(text)}", file=self._out, flush=True)


def _is_last(event: Event, steps: int) -> bool:
    """Tell whether an event is the end of the last epoch."""
    return isinstance(event, EpochEnd) and event.step >= steps


class Bar:
    """A bar over all steps of the job; what is to be known scrolls above it, an epoch every `every_s` seconds."""

    def __init__(self, console: Console, every_s: float, title: Optional[Title] = None) -> None:
        self._pace = Pace(every_s)
        self._title = title or Title()
        self._steps = 0
        self._console = console
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = RichProgress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("starting", total=None)
        self._bar.start()

    def phase(self, text: str) -> None:
        """Show the phase beside the bar, or above it what would be cut off there and gone with the next one."""
        if len(text) > _BESIDE:
            self._above(text)
        else:
            self._bar.update(self._task, description=self._title.over(text))

    def begin(self, steps_per_epoch: int, epochs: int, done: int) -> None:
        """Give the bar its length."""
        self._steps = steps_per_epoch * epochs
        self._bar.update(self._task, description=self._title.over("training"), total=self._steps, completed=done)

    def show(self, reported: Reported) -> None:
        """Move the bar with rank 0 and print its epochs; no step or work that is no longer so stays on it."""
        event = reported.event
        if isinstance(event, Restarting):
            self._bar.update(self._task, completed=event.step, description="starting again")
        elif isinstance(event, RoleEnded) and not event.expected:
            self._bar.update(self._task, description=f"{event.role} {event.rank} has ended")
        elif reported.role != "worker" or reported.rank != 0:
            return
        elif isinstance(event, EpochEnd):
            self._bar.update(self._task, completed=event.step)
            if self._pace.is_due() or _is_last(event, self._steps):
                self._pace.note()
                self._above(epoch_words(event))
        elif isinstance(event, Beat):
            doing = self._title.over(f"{event.doing} {words(event.metrics)}")
            self._bar.update(self._task, completed=event.step, description=doing)
        elif isinstance(event, Preparing):
            self._bar.update(self._task, description=f"looking at ids {event.done / event.total:.0%}")
        elif isinstance(event, Done):
            self._bar.update(self._task, completed=event.step, description="finishing")

    def close(self) -> None:
        """Take the bar off the screen."""
        self._bar.stop()

    def _above(self, text: str) -> None:
        self._console.print(self._title.over(text), highlight=False, markup=False, emoji=False, soft_wrap=True)
