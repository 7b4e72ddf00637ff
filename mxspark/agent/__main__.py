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
from typing import Optional, Union

from mxspark.agent.coordinator import RANK, Coordinator
from mxspark.agent.loop import READ, Loop, Stream
from mxspark.agent.slot import FINISHED, SlotAgent
from mxspark.errors.cause import Cause
from mxspark.protocol import commands, events, frames, launcher
from mxspark.system import prctl
from mxspark.system.procfs import Stillness

FIRST_FRAME_S = 30.0
PARENT_S = 0.5
STDIN, STDOUT = 0, 1
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Main:
    """What both kinds of agent have in common: their starter, the signals, and the last word."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.agent: Union[SlotAgent, Coordinator, None] = None
        self._is_driver_agent = False
        self._scratch: Optional[str] = None
        self._inherited: Optional[str] = None  # the scratch folder, once its owner is gone
        self._orphaned = False
        self._parent, self._still, self._lease_s = os.getppid(), Stillness(), float("inf")
        self._starter = Stream(self.loop, STDIN, frames.Plain(), self._frame, lambda _error: self._gone("it let go"))
        self._patience = self.loop.after(FIRST_FRAME_S, self.loop.stop)
        self.loop.every(PARENT_S, self._check_parent)
        self._wake, wake = socket.socketpair()  # kept: a socket that is collected is closed
        self._signals = wake
        for sock in (self._wake, wake):
            sock.setblocking(False)
        signal.set_wakeup_fd(wake.fileno())
        for number in ENDING_SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.loop.watch(self._wake.fileno(), READ, lambda _events: self._signalled())

    def last_word(self) -> int:
        """Tell the task how it went; return the exit code."""
        if self._inherited is not None:
            shutil.rmtree(self._inherited, ignore_errors=True)
        if isinstance(self.agent, Coordinator):
            return 0 if self.agent.succeeded else 1
        outcome: dict[str, object] = {"outcome": "orphaned", "message": "no instructions came"}
        if self.agent is not None:
            outcome = self.agent.outcome
        self._print(outcome)
        return 0 if outcome.get("outcome") == FINISHED else 1

    def crashed(self, text: str) -> int:
        """A mistake of ours: say so where it is heard. The roles end with this process."""
        sys.stderr.write(text)
        message = f"an agent crashed: {text.rstrip().splitlines()[-1]}"
        if self._is_driver_agent:
            cause = Cause.here("internal", "agent", message, rank=RANK, traceback=text)
            self._starter.send({"from": {"role": "agent", "rank": RANK}, **events.to_wire(events.Ended(cause))})
        else:
            self._print({"outcome": "crashed", "message": message, "traceback": text})
        return 70

    def _print(self, outcome: dict[str, object]) -> None:
        try:
            os.write(STDOUT, frames.Plain().pack(outcome))
        except OSError as error:
            logging.getLogger(__name__).warning("nobody took the outcome %s: %s", outcome, error)

    def _frame(self, frame: frames.Message) -> None:
        if isinstance(self.agent, Coordinator):
            self.agent.command(frame)
            return
        first: commands.Table = {commands.LeadGang: self._lead_gang, commands.ServeSlot: self._serve_slot}
        commands.carry_out(frame, "an agent that has just started", first if self.agent is None else {})

    def _lead_gang(self, command: commands.LeadGang) -> None:
        self._patience.cancel()
        self._is_driver_agent = True  # even if it cannot be made: the last word then goes to the driver
        self._scratch, self._lease_s = command.spec.scratch, command.spec.limits.lease_s
        self.agent = Coordinator(self.loop, command.spec, dict(os.environ), self._starter)

    def _serve_slot(self, command: commands.ServeSlot) -> None:
        self._patience.cancel()
        self.agent = SlotAgent(self.loop, command.spec, dict(os.environ), Path(command.scratch))

    def _check_parent(self) -> None:
        if os.getppid() != self._parent:  # a copy of the pipe in some other process may keep it open
            self._gone("it ended")
        elif isinstance(self.agent, Coordinator):
            still_s = self._still.seconds(self._parent)
            self.agent.look_at_driver(self._parent, still_s)
            if still_s > self._lease_s and launcher.ended_pid() is not None:
                os.kill(self._parent, signal.SIGKILL)  # nobody is left who would end it

    def _gone(self, how: str) -> None:
        if self._orphaned:  # noticed both ways
            return
        self._orphaned = True
        self._inherited = self._scratch
        self._abandon(f"the process that started this agent is gone ({how})")

    def _signalled(self) -> None:
        names = [signal.Signals(number).name for number in self._wake.recv(64)]
        self._abandon(f"the agent was told to end by {', '.join(names)}")

    def _abandon(self, why: str) -> None:
        if isinstance(self.agent, Coordinator):
            self.agent.interrupt(why)
        elif self.agent is not None:
            self.agent.abandon(why)
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
