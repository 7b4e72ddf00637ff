"""Facts of one run that any part of the driver may need."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager


def run_id() -> str:
    """Return a new id: sorts by time, is unique, and is a legal HDFS name."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(3)


class Phases:
    """Wall time by phase, in seconds, in the order the phases began."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure what happens inside the ``with``."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 3)
