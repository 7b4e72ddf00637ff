"""A group of real agents with tiny roles, driven as the driver and the tasks drive them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Optional

import psutil

from mxspark.agent import launch
from mxspark.protocol import channel, commands, events, specs
from mxspark.protocol.specs import AgentSpec, DriverAgentSpec, GroupSpec, Limits
from mxspark.topology.identity import host_identity

TESTS = Path(__file__).resolve().parent
PROGRAMS = TESTS / "programs"
ROOT = TESTS.parent
SYS_PATH = (str(ROOT), str(PROGRAMS), *sys.path[1:])
ENTRIES = {"scheduler": "fake_roles:waiter", "server": "fake_roles:waiter", "worker": "fake_roles:worker"}
#: None of these may be what ends a test; where one is to, the test gives its own.
LIMITS = Limits(start_s=120.0, hang_s=120.0, lease_s=60.0, shutdown_s=60.0)
#: Sooner than any of them: what has ended by then was noticed, and not given up.
AT_ONCE_S = 30.0
PATIENCE_S = 90.0


class AgentGroup:
    """A driver's agent and the agents of its slots.

    Parameters
    ----------
    faults : dict
        What a role does wrong: ``{("worker", 1): {"at": "middle", "do": "hang"}}``.
    hosts : int, optional
        On how many hosts the agents pretend to be, whose workers sum among themselves; None: they do not.
    bind, pythons
        Where the driver's agent listens; the programs that the driver's agent and those of the slots are run by.
    """

    def __init__(
        self,
        folder: Path,
        workers: int = 2,
        servers: Optional[int] = 2,
        on_driver: int = 0,
        limits: Limits = LIMITS,
        faults: Optional[dict[tuple[str, int], dict[str, Any]]] = None,
        environment: Optional[dict[str, str]] = None,
        identity: Optional[str] = None,
        entries: Optional[dict[str, str]] = None,
        run_id: Optional[str] = None,
        hosts: Optional[int] = None,
        same_host: bool = True,
        bind: str = "127.0.0.1",
        pythons: tuple[str, str] = (sys.executable, sys.executable),
    ) -> None:
        self._driver_python, self._slot_python = pythons
        self.folder, self.size, self.attempt = folder, workers, 1
        self.run_id = run_id or f"run-{secrets.token_hex(6)}"
        self.secret = secrets.token_hex(32)
        self.placed: list[events.Placed] = []
        self.hosts = hosts
        self.wanted = GroupSpec(servers, on_driver, hosts is not None, "local", 1, 1, environment or {})
        self.faults = faults or {}
        self.spec = DriverAgentSpec(
            run_id=self.run_id,
            size=workers,
            bind=bind,
            secret=self.secret,
            limits=limits,
            sys_path=SYS_PATH,
            log_dir=str(folder / "logs"),
            identity=identity or host_identity(),
            same_host=same_host and hosts in (None, 1),
            entries=entries or ENTRIES,
        )
        self.reported: list[events.Reported] = []
        self.slots: list[launch.AgentHandle] = []
        self.driver: launch.AgentHandle
        self.channel: channel.Channel
        self.address: tuple[str, int] = ("", 0)
        self.worker_spec: dict[str, Any] = {"digest": "same"}

    def __enter__(self) -> AgentGroup:
        """Start the driver's agent."""
        self.driver, self.channel = launch.driver_agent(self.spec, self._driver_python)
        listening = self.channel.receive(PATIENCE_S)
        assert listening is not None and listening["event"] == "Listening", listening
        self.address = (listening["address"][0], listening["address"][1])
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Stop every agent; whatever a test did, nothing of this group may be left."""
        for handle in (*self.slots, self.driver):
            handle.stop()
        if error is None:
            self.assert_nothing_left()
            assert not [handle.pid for handle in (*self.slots, self.driver) if is_alive(handle.pid)]

    @property
    def sockets(self) -> list[str]:
        """Paths of all sockets of this attempt and of those before it, as far as the agent has said."""
        return [path for placed in self.placed for path in placed.sockets]

    @property
    def meeting(self) -> str:
        """The path at which the workers of the last host meet."""
        return self.placed[-1].sockets[-1]

    @property
    def roles(self) -> list[tuple[str, int]]:
        """All roles."""
        servers = [("server", rank) for rank in range(self.wanted.servers or 0)]
        return [("scheduler", 0), *servers, *(("worker", rank) for rank in range(self.size))]

    def slot_spec(self, rank: int, **changes: Any) -> AgentSpec:
        """What a task would hand to its agent."""
        spec = AgentSpec(
            rank=rank,
            size=self.size,
            run_id=self.run_id,
            address=self.address,
            secret=self.secret,
            limits=self.spec.limits,
            sys_path=SYS_PATH,
            log_dir=self.spec.log_dir,
            entries=self.spec.entries,
            identity=None if self.hosts in (None, 1) else f"host {rank * self.hosts // self.size}",
        )
        return dataclasses.replace(spec, **changes)

    def begin(self) -> None:
        """Tell the driver's agent what roles there are to be."""
        (self.folder / "peers").mkdir(exist_ok=True)
        faults = json.dumps({f"{role}-{rank}": fault for (role, rank), fault in self.faults.items()})
        environment = {**self.wanted.environment, "FAKE": faults, "FAKE_FOLDER": str(self.folder / "peers")}
        wanted = dataclasses.replace(self.wanted, environment=environment)
        self.tell(commands.Begin(self.attempt, wanted, self.worker_spec))

    def tell(self, command: commands.Command) -> None:
        """Send the driver's agent a command."""
        self.channel.send(commands.to_wire(command))

    def again(self, faults: Optional[dict[tuple[str, int], dict[str, Any]]] = None) -> None:
        """Begin the next attempt on the agents that are there."""
        self.attempt += 1
        self.faults = faults or {}
        self.begin()

    def start(self, ranks: Optional[list[int]] = None) -> AgentGroup:
        """Begin, and start the agents of the slots."""
        self.begin()
        for rank in range(self.size) if ranks is None else ranks:
            self.slots.append(launch.slot_agent(self.slot_spec(rank), self._slot_python))
        return self

    def until(self, happened: Callable[[events.Reported], bool], patience_s: float = PATIENCE_S) -> events.Reported:
        """Take reports until one is what is waited for."""
        deadline = time.monotonic() + patience_s
        while True:
            frame = self.channel.receive(max(0.0, deadline - time.monotonic()))
            so_far = [str(report) for report in self.reported if not isinstance(report.event, events.Beat)]
            assert frame is not None, "the driver's agent ended; so far:\n" + "\n".join(so_far)
            if "beat" in frame:
                continue
            source, event = frame.pop("from", None), events.from_wire(frame)
            if isinstance(event, events.Placed):
                self.placed.append(event)
                self.driver.sockets = event.sockets
                continue
            self.reported.append(events.Reported(source["role"], source["rank"], event))
            if happened(self.reported[-1]):
                return self.reported[-1]

    def end(self, patience_s: float = PATIENCE_S) -> events.Ended:
        """Wait for the end of the attempt, and after a failure make no other."""
        event = self.attempt_end(patience_s)
        if event.cause is not None:
            with contextlib.suppress(OSError):
                self.stop("no other attempt is made")
        return event

    def stop(self, why: str = "test") -> None:
        """Have the driver's agent end everything."""
        self.tell(commands.Stop(why))

    def attempt_end(self, patience_s: float = PATIENCE_S) -> events.Ended:
        """Wait for the end of the attempt."""
        event = self.until(lambda report: isinstance(report.event, events.Ended), patience_s).event
        assert isinstance(event, events.Ended)
        return event

    def saw(self, kind: type, role: str, rank: int) -> Callable[[events.Reported], bool]:
        """Return a condition: this role said an event of this kind."""
        return lambda report: isinstance(report.event, kind) and (report.role, report.rank) == (role, rank)

    def until_all(self, kind: type, count: int) -> None:
        """Wait until `count` events of a kind came, counting those of before."""
        seen = sum(isinstance(report.event, kind) for report in self.reported)
        while seen < count:
            self.until(lambda report: isinstance(report.event, kind))
            seen += 1

    def pid(self, role: str, rank: int) -> int:
        """Return the pid of a role, as its agent reported it last."""
        for report in reversed(self.reported):
            event = report.event
            if isinstance(event, events.RoleStarted) and (event.role, event.rank) == (role, rank):
                return event.pid
        raise AssertionError(f"{role} {rank} was not started")

    def socket(self, role: str, rank: int) -> Path:
        """Return the path that a role binds."""
        environment = Path(f"/proc/{self.pid(role, rank)}/environ").read_bytes().split(b"\0")
        return Path("/tmp", next(line[5:].decode() for line in environment if line.startswith(b"PORT=")))

    def tagged(self) -> list[int]:
        """Return living processes that carry the run's tag: every role and what they started."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, psutil.Error):
                    tagged = f"{specs.RUN_TAG}={self.run_id}".encode() in (entry / "environ").read_bytes()
                    if tagged and psutil.Process(int(entry.name)).status() != psutil.STATUS_ZOMBIE:
                        found.append(int(entry.name))
        return found

    def assert_nothing_left(self, within_s: float = AT_ONCE_S) -> None:
        """Every role is gone, and every socket."""
        deadline = time.monotonic() + within_s
        while self.tagged() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not self.tagged(), [psutil.Process(pid).cmdline() for pid in self.tagged()]
        while any(os.path.lexists(path) for path in self.sockets) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not [path for path in self.sockets if os.path.lexists(path)]


def freeze(pid: int) -> None:
    """Stop a process and see that it stands."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE_S
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def other_process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in a process that can be killed; its standard output is a pipe."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()
