"""The link of a host, as its agent owns it: a child that hears its orders over an inherited socket and ends with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from enum import Enum
from pathlib import Path
from typing import Callable, Optional

from mxspark.agent.role_process import BOOT, SYS_PATH_VARIABLE, Settings
from mxspark.errors.cause import describe_exit
from mxspark.errors.phase import advance
from mxspark.protocol import frames, link
from mxspark.protocol.specs import AGENT_TAG
from mxspark.protocol.stream import Stream
from mxspark.system import unix_sockets
from mxspark.system.loop import Loop
from mxspark.system.prctl import bind_to
from mxspark.system.procfs import Stillness

ENTRY = "mxspark.link.__main__:main"
STOP_S = 5.0
LOOK_S = 0.5


class Phase(Enum):
    """What is known of a link."""

    ALIVE = "it does what it is told"
    LEAVING = "it was told to end"
    OVER = "it has ended"


STEPS = {
    Phase.ALIVE: (Phase.LEAVING, Phase.OVER),
    Phase.LEAVING: (Phase.OVER,),
    Phase.OVER: (),
}


class LinkProcess:
    """A started link. Call from the main thread: the kernel ends the link when that *thread* ends.

    Parameters
    ----------
    settings : Settings
        As of the roles: interpreter, path, environment, where the log goes.
    run_id : str
        By which what dead runs left is found.
    on_message : callable
        Called with whatever the link says.
    on_end : callable
        Called once when it has ended and been reaped: with words if that was not asked for, else with None.
    stopped_s : float
        How long it may be stopped by a signal, which no connection shows, before it is killed.

    Raises
    ------
    OSError
        If no process could be started.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        run_id: str,
        on_message: Callable[[link.Message], None],
        on_end: Callable[[Optional[str]], None],
        stopped_s: float,
    ) -> None:
        self._loop = loop
        self._on_message = on_message
        self._on_end = on_end
        self._stopped_s = stopped_s
        self._phase = Phase.ALIVE
        self._still = Stillness(loop.now)
        self._sockets: list[str] = []
        self._why = ""
        ours, self._popen = _start(settings, run_id)
        self._stream = Stream(loop, ours.detach(), frames.Plain(), self._take, self._on_close)
        loop.watch_exit(self._popen.pid, self._reap)
        loop.after(LOOK_S, self._look)

    @property
    def pid(self) -> int:
        """Return its process id, which is its process group too."""
        return self._popen.pid

    def tell(self, message: link.Message) -> None:
        """Tell it something; nothing happens once it has ended."""
        if isinstance(message, link.Connect):
            self._sockets = [os.path.join(message.folder, str(endpoint)) for endpoint, _ in message.there]
        if self._phase is Phase.ALIVE:
            self._stream.send(link.to_wire(message))

    def stop(self) -> None:
        """Let it end by itself, and kill it if it does not; `on_end` comes in every case."""
        if self._phase is Phase.ALIVE:
            self._step_to(Phase.LEAVING)
            self._stream.close()
            self._loop.after(STOP_S, self.kill)

    def kill(self) -> None:
        """End it at once."""
        if self._phase is not Phase.OVER:  # not reaped: its number is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _step_to(self, phase: Phase) -> None:
        self._phase = advance("the link of an agent", self._phase, phase, STEPS)

    def _take(self, frame: frames.Message) -> None:
        try:
            message = link.from_wire(frame)
        except ValueError as error:
            self._break(f"said what no link says: {error}")
            return
        self._on_message(message)

    def _on_close(self, error: Optional[frames.WireError]) -> None:
        if error is not None:
            self._break(f"said what is no frame: {error}")
        elif self._phase is Phase.ALIVE:
            self._loop.after(STOP_S, self.kill)  # it ends, or else it does nothing that it could be told any more

    def _look(self) -> None:
        """Kill one that is stopped: all that it carries stands still, and nobody else sees why."""
        if self._phase is not Phase.ALIVE:
            return
        if self._still.seconds(self.pid) >= self._stopped_s:
            self._break(f"has been stopped by a signal for {self._stopped_s:g} s")
        else:
            self._loop.after(LOOK_S, self._look)

    def _break(self, why: str) -> None:
        self._why = self._why or why
        self.kill()

    def _reap(self) -> None:
        returncode = self._popen.wait()
        was_asked_for = self._phase is Phase.LEAVING
        self._stream.drain()  # its last words come before its end
        self._stream.close()
        self._step_to(Phase.OVER)
        for path in self._sockets:  # of one that was killed, which could not remove them
            unix_sockets.remove_socket(path)
        words = self._why or describe_exit(returncode)[2]
        self._on_end(None if was_asked_for else f"the link of this host (pid {self.pid}) {words}")


def _start(settings: Settings, run_id: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair()
    agent = os.getpid()
    log = Path(settings.log_dir, f"{settings.log_prefix}link.log")
    try:
        with theirs, open(log, "ab") as output:
            popen = subprocess.Popen(
                [settings.python, "-I", "-S", "-u", "-c", BOOT, ENTRY, "link"],
                env={**settings.environment, SYS_PATH_VARIABLE: json.dumps(settings.sys_path), AGENT_TAG: run_id},
                stdin=theirs.fileno(),
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: bind_to(agent),
            )
    except BaseException:
        ours.close()
        raise
    return ours, popen
