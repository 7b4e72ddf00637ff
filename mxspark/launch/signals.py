"""Signals that end this process while it works itself; as long as spark-submit runs they go to the driver."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
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


def heed() -> None:
    """Raise `Stopped` on a signal that asks for an end from now on."""
    numbers = _asking()
    for number in numbers:
        signal.signal(number, _raise)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def hold() -> set[signal.Signals]:
    """Let such signals wait from now on, to the end of the process or for ``sigtimedwait``, and return which do."""
    numbers = _asking()
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    return numbers


@contextmanager
def heeded() -> Iterator[None]:
    """Inside the ``with`` do not hold them; one that came before is lost."""
    while signal.sigtimedwait(_asking(), 0) is not None:
        pass
    heed()
    try:
        yield
    finally:
        hold()


def _asking() -> set[signal.Signals]:
    numbers = {signal.SIGINT, signal.SIGTERM}
    return numbers if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else {*numbers, signal.SIGHUP}  # nohup


def _raise(number: int, _frame: Optional[FrameType]) -> NoReturn:
    raise Stopped(number)
