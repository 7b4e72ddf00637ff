"""A request to end in good order, as a SIGTERM is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional


class Terminated(KeyboardInterrupt):
    """The run ends because it was told to by a signal; what it has reached is kept."""


class Notice:
    """Given by a signal handler, heeded by a run that can make a last checkpoint.

    Whoever gives it twice, or while nobody heeds it, gets :class:`Terminated` at once.

    Attributes
    ----------
    why : str or None
        Once given.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._heeded = False
        self._given_at = 0.0
        self.why: Optional[str] = None

    def give(self, why: str) -> None:
        """Ask for the end."""
        if self.why is not None or not self._heeded:
            raise Terminated(why)
        self._given_at, self.why = self._now(), why

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Inside the ``with`` somebody looks at `why` again and again."""
        self._heeded = True
        try:
            yield
        finally:
            self._heeded = False

    def expect_within(self, grace_s: float) -> None:
        """Raise if the notice was given longer ago than that."""
        if self.why is not None and self._now() - self._given_at > grace_s:
            raise Terminated(f"{self.why}; there was no last checkpoint within failure.grace_s = {grace_s:g} s")
