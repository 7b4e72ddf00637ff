"""The driver's own agent, seen from the driver: commands to it, reports from it, and whether it lives."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Any, Callable, Optional

from mxspark.agent import launch
from mxspark.errors import MXSparkError, NotStarted
from mxspark.errors.cause import Cause
from mxspark.protocol import commands, events
from mxspark.protocol.commands import Command
from mxspark.protocol.events import Listening, Placed, Reported
from mxspark.protocol.specs import DriverAgentSpec

_POLL_S = 0.2
_STOP_S = 8.0


class DriverAgent:
    """A started agent, to which all other agents of the gang connect.

    Attributes
    ----------
    spec : DriverAgentSpec
        What it was told.
    has_ended : bool
        Whether it was seen to be gone; the roles it had started are gone with it.
    """

    def __init__(self, spec: DriverAgentSpec) -> None:
        self.spec = spec
        self.has_ended = False
        self._heard_at = time.monotonic()
        self._process, self._channel = launch.driver_agent(spec, sys.executable)

    def tell(self, command: Command) -> None:
        """Send a command."""
        # it may have ended meanwhile; `receive` then finds its last words, or their absence
        with contextlib.suppress(ConnectionError):
            self._channel.send(commands.to_wire(command))

    def receive(self) -> Optional[Reported]:
        """Return what is reported next, None if that is for nobody but this object.

        Raises
        ------
        TimeoutError
            If nothing has come for a moment.
        RoleDied
            If the agent is gone, or so silent that it is stopped or its machine is; it is killed then.
        """
        try:
            message = self._channel.receive(_POLL_S)
        except TimeoutError:
            self._ensure_heard()
            raise
        self._heard_at = time.monotonic()
        if message is None:
            self.has_ended = True
            raise self._gone(self._process.wait(_STOP_S)["message"])
        return self._understand(message)

    def wait_for_address(self, receive: Callable[[], Optional[Reported]]) -> tuple[str, int]:
        """Return where the other agents find it, once it says so; `receive` is called until then."""
        limit_s = self.spec.limits.start_s
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            reported = receive()
            if reported is not None and isinstance(reported.event, Listening):
                return reported.event.address
        raise NotStarted(
            f"the driver's agent did not open its port within {limit_s:g} s (failure.start_s); see what keeps this "
            "machine busy, or raise failure.start_s"
        )

    def end(self, why: str) -> None:
        """Have it end every role of the gang, and itself; kill it if it does not."""
        if not self.has_ended and not self._ends_itself(why):
            # left alone it would take itself for orphaned, and remove files that the run still reads
            self._process.kill()
        self.has_ended = True

    def clean_up(self) -> None:
        """Wait for its process, and remove what a killed one has left: the last thing to be done with it."""
        self._process.stop()

    def _understand(self, message: dict[str, Any]) -> Optional[Reported]:
        if "beat" in message:
            return None
        who = message.pop("from", {"role": "driver", "rank": 0})
        event = events.from_wire(message)
        if isinstance(event, Placed):
            self._process.sockets = event.sockets  # what is left behind if it is killed
            return None
        return Reported(str(who["role"]), int(who["rank"]), event)

    def _ends_itself(self, why: str) -> bool:
        try:
            self._channel.send(commands.to_wire(commands.Stop(why)))
            deadline = time.monotonic() + _STOP_S
            while time.monotonic() < deadline:
                try:
                    message = self._channel.receive(_POLL_S)
                except TimeoutError:
                    continue
                if message is None:
                    return True
                self._understand(message)  # roles may have been placed just before
        except OSError:
            return True  # it is gone, and its roles with it
        return False

    def _ensure_heard(self) -> None:
        """Give up an agent that has not even sent a beat."""
        silent_s = time.monotonic() - self._heard_at
        lease_s = self.spec.limits.lease_s
        if silent_s > lease_s:
            self.has_ended = True
            self._process.kill()
            raise self._gone(f"it was silent for {silent_s:.1f} s (failure.lease_s = {lease_s:g} s)")

    def _gone(self, why: str) -> MXSparkError:
        words = f"the driver's own agent is gone, and the scheduler with it: {why}"
        tail = _tail(self.spec.log_dir)
        return Cause.here("agent", "agent", words, rank=-1, pid=self._process.pid, log_tail=tail).as_error()


def _tail(logs: Optional[str]) -> str:
    """Return the end of the agent's log."""
    path = Path(logs or "") / "agent-driver.log"
    return path.read_text(errors="replace")[-4096:] if path.exists() else ""
