"""The worker's conversation with its agent: events out, a few orders in."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Optional

from mxspark import events
from mxspark.errors import ClusterError, InternalError
from mxspark.wire import Channel

_GONE = 4  # exit code when the agent is no longer there: nobody is left to report to
COMMIT_S = 900.0
FINISH_S = 600.0
_POLL_S = 0.5


class AgentLine:
    """One end of the channel to the agent.

    Orders are read only when the training loop asks for them, so no second thread is needed. An agent that is gone ends
    the process: it owns us, and it can no longer kill us.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._uncommitted: Optional[int] = None
        self._finish = False

    def send(self, event: events.Event) -> None:
        """Report a fact; with a staged checkpoint its commit is awaited before the next one."""
        try:
            self._channel.send(events.to_wire(event))
        except OSError:
            os._exit(_GONE)
        if isinstance(event, events.Staged) and event.kind == "checkpoint":
            self._uncommitted = event.step

    def bundle(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the order to train: ``{"do": "train", "rank": …, "bundle": …}``."""
        order = self._receive(timeout_s)
        if order is None:
            raise ClusterError(f"the agent sent no work within {timeout_s:g} s")
        if order.get("do") != "train":
            raise InternalError(f"the first order must be to train, this one is {order.get('do')!r}")
        return order

    def drain(self) -> None:
        """Take the orders that are there, without waiting."""
        while self._take(0.0):
            pass

    def wait_committed(self, beat: Callable[[], None]) -> None:
        """Wait until no staged checkpoint is uncommitted, calling `beat` now and then."""
        deadline = time.monotonic() + COMMIT_S
        self.drain()
        while self._uncommitted is not None:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the checkpoint of step {self._uncommitted} was not committed within {COMMIT_S:g} s; "
                    "check the filesystem of job.dir, or checkpoint less often"
                )
            self._take(_POLL_S)
            beat()

    def wait_finish(self) -> None:
        """Wait for leave to finish."""
        deadline = time.monotonic() + FINISH_S
        while not self._finish:
            if time.monotonic() > deadline:
                raise ClusterError(f"no leave to finish came within {FINISH_S:g} s of the end of training")
            self._take(_POLL_S)

    def _take(self, timeout_s: float) -> bool:
        order = self._receive(timeout_s)
        if order is None:
            return False
        if order.get("do") == "committed":
            # a late word about an older checkpoint says nothing about this one
            if self._uncommitted is not None and int(order["step"]) >= self._uncommitted:
                self._uncommitted = None
        elif order.get("do") == "finish":
            self._finish = True
        else:
            raise InternalError(f"an unknown order came from the agent: {order.get('do')!r}")
        return True

    def _receive(self, timeout_s: float) -> Optional[dict[str, Any]]:
        try:
            order = self._channel.receive(timeout_s)
        except TimeoutError:
            return None
        if order is None:
            os._exit(_GONE)
        return order
