"""The events of a run, one JSON object a line, in a local file while the run goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Callable

from mxspark.protocol import events
from mxspark.protocol.events import Reported


class Journal:
    """Writes ``events.jsonl``. A disk that is full costs events, never the training.

    Parameters
    ----------
    path : Path
        The local file; what is in it already stays.
    say : callable
        Takes a line for people.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        self._say = say
        self._has_lost = False

    def write(self, reported: Reported) -> None:
        """Write an event; the first one that is lost is said."""
        line = {"time": time.time(), "role": reported.role, "rank": reported.rank, **events.to_wire(reported.event)}
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError as error:
            if not self._has_lost:
                self._say(f"warning: events are no longer written to {self.path}: {error}")
            self._has_lost = True

    def close(self) -> None:
        """Write what is still buffered."""
        try:
            self._file.close()
        except OSError as error:  # what was written before is kept
            self._say(f"warning: the last events are lost: {error}")
