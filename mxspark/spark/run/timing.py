"""The id of a run, and the seconds that its phases take."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager


def run_id() -> str:
    """Return a new id: sorts by time, is unique, and is a legal HDFS name."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(3)


class Phases:
    """Wall time by phase, in seconds, in the order the phases began.

    What one function does from begin to end is measured by a ``with``, what begins in one event and ends in another by
    laps.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lap_began = time.monotonic()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure what happens inside the ``with``."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 3)

    def begin_lap(self) -> None:
        """Measure from here."""
        self._lap_began = time.monotonic()

    def end_lap(self, name: str) -> None:
        """Measure until here, and from here the next lap."""
        now = time.monotonic()
        self.seconds[name] = round(now - self._lap_began, 3)
        self._lap_began = now
