"""Signals that end this process while it works itself; as long as spark-submit runs they go to the driver."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn, Optional


class Stopped(BaseException):
    """A signal told this process to end.

    Attributes
    ----------
    exit_code : int
        128 + the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def heed() -> frozenset[signal.Signals]:
    """Raise `Stopped` on a signal that asks for an end from now on, and return which do."""
    numbers = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        numbers.add(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, _raise)
    return frozenset(numbers)


def _raise(number: int, _frame: Optional[FrameType]) -> NoReturn:
    raise Stopped(number)
