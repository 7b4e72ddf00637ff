"""Entry of both kinds of agent. The first frame on standard input says which; its end of file means: end everything."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from mxspark.errors.cause import Cause
from mxspark.protocol import commands, events, frames, launcher
from mxspark.protocol.specs import DRIVER, DriverAgentSpec
from mxspark.protocol.stream import Stream
from mxspark.system import prctl
from mxspark.system.loop import READ, Loop
from mxspark.system.procfs import Stillness

if TYPE_CHECKING:
    from mxspark.agent.coordinator import Coordinator
    from mxspark.agent.slot import SlotAgent

FIRST_FRAME_S = 30.0
PARENT_S = 0.5
STDIN, STDOUT = 0, 1
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Has the loop call `on_signal(words)` when somebody wants the end of this process.

    A handler that did so itself would run between any two lines of the loop's actions. So the signals only make a byte
    readable, which the loop finds in its turn.
    """

    def __init__(self, loop: Loop, on_signal: Callable[[str], None]) -> None:
        self._on_signal = on_signal
        self._read, self._write = socket.socketpair()  # kept: a socket that is collected is closed
        for sock in (self._read, self._write):
            sock.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno())
        for number in ENDING_SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else a wait for a role could find it reaped
        loop.watch(self._read.fileno(), READ, lambda _events: self._pass_on())

    def _pass_on(self) -> None:
        names = [signal.Signals(number).name for number in self._read.recv(64)]
        self._on_signal(f"the agent was told to end by {', '.join(names)}")


class Main:
    """What both kinds of agent have in common: their starter, the signals, and the last word."""

    def __init__(self) -> None:
        self.loop = Loop()
        self._coordinator: Optional[Coordinator] = None
        self._slot: Optional[SlotAgent] = None
        self._spec: Optional[DriverAgentSpec] = None  # of the driver's agent
        self._is_orphan = False
        self._parent = os.getppid()
        self._still = Stillness()
        self._starter = Stream(self.loop, STDIN, frames.Plain(), self._take, lambda _error: self._orphan("it let go"))
        self._patience = self.loop.after(FIRST_FRAME_S, self.loop.stop)
        self.loop.every(PARENT_S, self._check_parent)
        self._signals = Signals(self.loop, self._abandon)

    def last_word(self) -> int:
        """Tell the task how it went; return the exit code."""
        if self._is_orphan and self._spec is not None and self._spec.scratch is not None:
            shutil.rmtree(self._spec.scratch, ignore_errors=True)  # its owner cannot any more
        if self._coordinator is not None:
            return 0 if self._coordinator.succeeded else 1
        if self._slot is None:
            self._print({"outcome": "orphaned", "message": "no instructions came"})
            return 1
        self._print(self._slot.outcome)
        return 0 if self._slot.has_finished else 1

    def crashed(self, text: str) -> int:
        """A mistake of ours: say so where it is heard. The roles end with this process."""
        sys.stderr.write(text)
        message = f"an agent crashed: {text.rstrip().splitlines()[-1]}"
        if self._spec is not None:
            cause = Cause.here("internal", "agent", message, rank=DRIVER, traceback=text)
            self._starter.send({"from": {"role": "agent", "rank": DRIVER}, **events.to_wire(events.Ended(cause))})
        else:
            self._print({"outcome": "crashed", "message": message, "traceback": text})
        return 70

    def _print(self, outcome: dict[str, object]) -> None:
        try:
            os.write(STDOUT, frames.Plain().pack(outcome))
        except OSError as error:
            logging.getLogger(__name__).warning("nobody took the outcome %s: %s", outcome, error)

    def _take(self, frame: frames.Message) -> None:
        if self._coordinator is not None:
            self._coordinator.command(frame)
            return
        first: commands.Table = {commands.LeadGang: self._lead_gang, commands.ServeSlot: self._serve_slot}
        commands.carry_out(frame, "an agent that has just started", first if self._slot is None else {})

    def _lead_gang(self, command: commands.LeadGang) -> None:
        self._spec = command.spec  # first: if the agent cannot be made, the last word must go to the driver
        self._patience.cancel()
        # here, as below: an agent starts within a tenth of a second, and needs only one of the two
        from mxspark.agent.coordinator import Coordinator

        self._coordinator = Coordinator(self.loop, command.spec, dict(os.environ), self._starter)

    def _serve_slot(self, command: commands.ServeSlot) -> None:
        from mxspark.agent.slot import SlotAgent

        self._patience.cancel()
        self._slot = SlotAgent(self.loop, command.spec, dict(os.environ), Path(command.scratch))

    def _check_parent(self) -> None:
        if os.getppid() != self._parent:  # a copy of the pipe in some other process may keep it open
            self._orphan("it ended")
        elif self._coordinator is not None:
            still_s = self._still.seconds(self._parent)
            self._coordinator.look_at_driver(self._parent, still_s)
            lease_s = self._spec.limits.lease_s if self._spec is not None else float("inf")
            if still_s > lease_s and launcher.ended_pid() is not None:
                os.kill(self._parent, signal.SIGKILL)  # nobody is left who would end it

    def _orphan(self, how: str) -> None:
        if not self._is_orphan:  # noticed both ways
            self._is_orphan = True
            self._abandon(f"the process that started this agent is gone ({how})")

    def _abandon(self, why: str) -> None:
        if self._coordinator is not None:
            self._coordinator.interrupt(why)
        elif self._slot is not None:
            self._slot.abandon(why)
        else:
            self.loop.stop()


def main() -> Optional[int]:
    """Be an agent."""
    os.umask(0o077)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    prctl.adopt_orphans()
    agent = Main()
    try:
        agent.loop.run()
    except Exception:
        return agent.crashed(traceback.format_exc())
    return agent.last_word()


if __name__ == "__main__":
    sys.exit(main())
