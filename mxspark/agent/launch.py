"""Starting an agent from a Spark task or from the driver, and waiting for it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Optional

from mxspark.errors.cause import describe_exit
from mxspark.protocol import commands, frames, specs
from mxspark.protocol.channel import Channel
from mxspark.protocol.specs import AgentSpec, DriverAgentSpec
from mxspark.system import procfs, unix_sockets

STOP_S = 8.0
BOOT = (
    "import json, sys; given = json.loads(sys.argv[1]); "
    "sys.path[:] = given + [path for path in sys.path if path not in given]; "
    "from mxspark.agent.__main__ import main; sys.exit(main())"
)


class AgentHandle:
    """A started agent. Leaving the ``with`` block ends it and everything it started.

    Attributes
    ----------
    sockets : sequence of str
        Paths to remove once it has ended, should it not have done so itself; the driver hears of them from its agent.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        lifeline: Any,
        scratch: Optional[Path] = None,
        sockets: Sequence[str] = (),
    ) -> None:
        self._popen = popen
        self._lifeline = lifeline
        self._scratch = scratch
        self.sockets = sockets

    @property
    def pid(self) -> int:
        """Return the agent's process id, which is the id of its session too."""
        return self._popen.pid

    def wait(self, timeout: Optional[float] = None) -> dict[str, Any]:
        """Wait for the agent's end and return its outcome.

        Parameters
        ----------
        timeout : float or None
            Seconds; without one the agent's own deadlines bound the wait.

        Returns
        -------
        dict
            ``outcome`` (``finished``, ``stopped``, ``orphaned``, ``crashed`` or ``died``) and ``message``.

        Raises
        ------
        subprocess.TimeoutExpired
            If it still runs.
        """
        output = self._popen.communicate(timeout=timeout)[0] if self._popen.stdout else b""
        returncode = self._popen.wait(timeout)
        self._clean()
        with contextlib.suppress(frames.WireError):
            for frame in frames.Plain().feed(output or b""):
                return frame
        if returncode == 0:
            return {"outcome": "finished", "message": ""}
        return {"outcome": "died", "message": f"the agent (pid {self.pid}) {describe_exit(returncode)[2]}"}

    def kill(self) -> None:
        """Kill the agent; its roles die with it, and the rest of what :meth:`stop` does finds it gone."""
        self._popen.kill()

    def stop(self) -> None:
        """End the agent and its roles: first by closing its lifeline, then the hard way."""
        self._lifeline.close()
        try:
            self._popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(STOP_S)
        if self._popen.stdout:
            self._popen.stdout.close()
        self._clean()

    def __enter__(self) -> AgentHandle:
        """Return itself."""
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """End it."""
        self.stop()

    def _clean(self) -> None:
        """Remove what a killed agent could not: the children of its roles, their sockets, and its scratch folder."""
        for left in procfs.table():
            if left.session == self.pid:
                with contextlib.suppress(OSError):
                    os.kill(left.pid, signal.SIGKILL)
        for path in self.sockets:
            unix_sockets.remove_socket(path)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def slot_agent(spec: AgentSpec, python: str = sys.executable) -> AgentHandle:
    """Start the agent of a slot; it lives as long as the handle, or until its work is done."""
    scratch = Path(tempfile.gettempdir(), f"mxspark-{secrets.token_hex(8)}")
    popen = _start(spec.run_id, spec.sys_path, python, subprocess.PIPE, subprocess.PIPE)
    pipe: Optional[IO[bytes]] = popen.stdin
    popen.stdin = None  # ours: it is the lifeline, `communicate` must not close it
    assert pipe is not None
    handle = AgentHandle(popen, pipe, scratch)
    try:
        pipe.write(frames.Plain().pack(commands.to_wire(commands.ServeSlot(spec, str(scratch)))))
        pipe.flush()
    except BaseException:
        handle.stop()
        raise
    return handle


def driver_agent(spec: DriverAgentSpec, python: str = sys.executable) -> tuple[AgentHandle, Channel]:
    """Start the driver's agent; the channel carries commands to it and its reports back."""
    ours, theirs = socket.socketpair()
    with theirs:
        popen = _start(spec.run_id, spec.sys_path, python, theirs.fileno(), subprocess.DEVNULL)
    channel = Channel(ours)
    handle = AgentHandle(popen, channel)
    try:
        channel.send(commands.to_wire(commands.LeadGang(spec)))
    except BaseException:
        handle.stop()
        raise
    return handle, channel


def _start(run_id: str, sys_path: tuple[str, ...], python: str, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [python, "-I", "-S", "-c", BOOT, json.dumps(sys_path)],
        stdin=stdin,
        stdout=stdout,
        start_new_session=True,
        env={**os.environ, specs.AGENT_TAG: run_id},
    )
