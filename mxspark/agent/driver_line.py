"""The driver's agent's line to the driver: what agents and roles report, and what the driver alone is told."""

from __future__ import annotations

from typing import Callable

from mxspark.protocol import events
from mxspark.protocol.stream import Stream
from mxspark.system.loop import Loop

SLOW_BYTES = 2**18
"""Queued for the driver: from here beats are dropped, for newer ones say all that they say."""
STUCK_BYTES = 2**26
"""Queued for the driver: from here it is given up."""


class DriverLine:
    """Reports to the driver, which may be slow to read: a notebook that holds the GIL, a stop of the JVM.

    Parameters
    ----------
    on_stuck : callable
        Called with words once the driver has not read so much that it is given up.
    """

    def __init__(self, loop: Loop, stream: Stream, on_stuck: Callable[[str], None]) -> None:
        self._loop = loop
        self._stream = stream
        self._on_stuck = on_stuck

    def beat(self) -> None:
        """Say that this agent lives, where nothing else says so."""
        if not self._stream.queued_bytes:
            self._send({"beat": 1})

    def tell(self, notice: events.Event) -> None:
        """Tell the driver alone."""
        self._send(events.to_wire(notice))

    def report(self, role: str, rank: int, event: events.Event) -> None:
        """Pass on what a role or an agent says."""
        if not (isinstance(event, events.Beat) and self._stream.queued_bytes > SLOW_BYTES):
            self._send({"from": {"role": role, "rank": rank}, **events.to_wire(event)})

    def flush(self, limit_s: float, action: Callable[[], None]) -> None:
        """Call `action()` once all is sent, or the time is over."""
        self._stream.flush(limit_s, action)

    def _send(self, message: dict[str, object]) -> None:
        self._stream.send(message)
        if self._stream.queued_bytes > STUCK_BYTES:
            self._stream.close()
            # in a turn of its own: who reports may be in the middle of a change
            self._loop.after(0, lambda: self._on_stuck("the driver does not read what its agent reports"))
