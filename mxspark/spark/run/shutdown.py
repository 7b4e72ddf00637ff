"""A request to end in good order, as a SIGTERM is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Callable, Optional


class Terminated(KeyboardInterrupt):
    """The run ends because it was told to by a signal; what it has reached is kept."""


class _Phase(Enum):
    UNHEEDED = "nobody would act on a request"
    HEEDED = "somebody looks at it again and again"
    REQUESTED = "a request was made, and is still to be passed on"
    PASSED_ON = "the workers were told"


class Shutdown:
    """Requested by a signal handler, heeded by a run that can make a last checkpoint.

    Whoever requests it twice, or while nobody heeds it, gets :class:`Terminated` at once.

    Attributes
    ----------
    why : str or None
        Once requested.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._phase = _Phase.UNHEEDED
        self._requested_at = 0.0
        self.why: Optional[str] = None

    def request(self, why: str) -> None:
        """Ask for the end; called between any two instructions of the main thread, as signal handlers are."""
        if self._phase is not _Phase.HEEDED:
            raise Terminated(why)
        self._phase = _Phase.REQUESTED
        self._requested_at = self._now()
        self.why = why

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Inside the ``with`` somebody looks at `why` again and again."""
        self._phase = _Phase.HEEDED
        try:
            yield
        finally:
            self._phase = _Phase.UNHEEDED

    def take_request(self) -> Optional[str]:
        """Return why the end is asked for the first time it is seen, None before and after."""
        if self._phase is not _Phase.REQUESTED:
            return None
        self._phase = _Phase.PASSED_ON
        return self.why

    def expect_within(self, grace_s: float) -> None:
        """Raise if the end was asked for longer ago than that."""
        if self.why is not None and self._now() - self._requested_at > grace_s:
            raise Terminated(f"{self.why}; there was no last checkpoint within failure.grace_s = {grace_s:g} s")
