"""Links of a test: real processes, each told what to do as an agent would."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Optional, TypeVar

from mxspark.link import issue
from mxspark.protocol import link
from mxspark.protocol.channel import Channel
from mxspark.protocol.identity import Identity

M = TypeVar("M")
PATIENCE_S = 60.0
ROOT = Path(__file__).resolve().parents[1]
# nothing but the standard library and this checkout, as an agent starts it
BOOT = (
    "import json, sys; sys.path[:0] = json.loads(sys.argv[1]); from mxspark.link.__main__ import main; sys.exit(main())"
)


class LinkProcess:
    """A link, and the end of an agent towards it."""

    def __init__(self, folder: Path, python: str = sys.executable, boot: str = BOOT) -> None:
        folder.mkdir(exist_ok=True)
        ours, theirs = socket.socketpair()
        with theirs, open(folder / "link.log", "ab") as log:
            self.popen = subprocess.Popen(
                [python, "-I", "-S", "-c", boot, json.dumps([str(ROOT)])], stdin=theirs.fileno(), stderr=log
            )
        self.folder = folder
        self.channel = Channel(ours)
        self.heard: list[Any] = []
        self.address = ("", 0)

    def __enter__(self) -> LinkProcess:
        """Return itself."""
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """End it, and say what it wrote if it had something to complain of."""
        self.channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(PATIENCE_S)
        self.popen.kill()
        self.popen.wait()
        assert kind is not None or not self.log(), self.log()

    def log(self) -> str:
        """Return what it wrote."""
        return (self.folder / "link.log").read_text()

    def say(self, message: link.Message) -> None:
        """Tell it something."""
        self.channel.send(link.to_wire(message))

    def hear(self, kind: type[M], seconds: float = PATIENCE_S) -> M:
        """Return the next message of a kind; others are kept in `heard`."""
        deadline = time.monotonic() + seconds
        while True:
            frame = self.channel.receive(max(0.0, deadline - time.monotonic()))
            assert frame is not None, f"the link is gone: {self.log()}"
            message = link.from_wire(frame)
            self.heard.append(message)
            if isinstance(message, kind):
                return message

    def open(self, identity: Identity, address: str = "127.0.0.1", ports: tuple[int, int] = (0, 0)) -> None:
        """Have it listen."""
        self.say(link.OpenPort(identity, address, ports))
        opened = self.hear(link.PortOpen)
        self.address = (opened.address, opened.port)


def identity(run_id: str = "run", **how: Any) -> Identity:
    """Return an identity of a run of its own."""
    return issue.issue(run_id, **how)


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@contextlib.contextmanager
def pair(
    folder: Path,
    who: Identity,
    *,
    python: str = sys.executable,
    other: str = "",
    address: str = "127.0.0.1",
    other_address: str = "",
    boot: str = BOOT,
    **order: Any,
) -> Iterator[tuple[LinkProcess, LinkProcess]]:
    """Two links that have met; a role of the second has socket 77. `other` is the Python of the second's host."""
    with LinkProcess(folder / "a", python, boot) as one, LinkProcess(folder / "b", other or python, boot) as two:
        one.open(who, address)
        two.open(who, other_address or address)
        connect((one, two), **order)
        for each in (one, two):
            each.hear(link.Connected)
        yield one, two


def connect(links: Sequence[LinkProcess], at: Sequence[tuple[str, int]] = (), **order: Any) -> None:
    """Tell links of an attempt, in which a role of each but the first has a socket: 77, 78 and so on.

    They find each other `at` these addresses; default: where they are.
    """
    hosts = tuple(at) or tuple(each.address for each in links)
    endpoints = [(76 + host, host) for host in range(1, len(links))]
    common = {"attempt": 1, "encrypt": False, "start_s": PATIENCE_S, "silence_s": PATIENCE_S, **order}
    for host, each in enumerate(links):
        here = tuple(endpoint for endpoint, at in endpoints if at == host)
        there = tuple((endpoint, at) for endpoint, at in endpoints if at != host)
        each.say(link.Connect(host=host, hosts=hosts, here=here, there=there, folder=str(each.folder), **common))


class Role:
    """A role with a socket, as far as links know of roles."""

    def __init__(self, folder: Path, endpoint: int = 77) -> None:
        self._path = folder / str(endpoint)
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(self._path))
        self._sock.listen()

    def __enter__(self) -> Role:
        """Return itself."""
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Remove its socket."""
        self._sock.close()
        self._path.unlink()

    def accept(self) -> socket.socket:
        """Return the next connection, with a limit on every wait."""
        self._sock.settimeout(PATIENCE_S)
        sock = self._sock.accept()[0]
        sock.settimeout(PATIENCE_S)
        return sock


def reach(folder: Path, endpoint: int = 77) -> socket.socket:
    """Connect to where a role of another host seems to be, with a limit on every wait."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE_S)
    sock.connect(str(folder / str(endpoint)))
    return sock


@contextlib.contextmanager
def joined(one: LinkProcess, two: LinkProcess, endpoint: int = 77) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection of two roles."""
    with Role(two.folder, endpoint) as role, reach(one.folder, endpoint) as near, role.accept() as far:
        yield near, far


def read(sock: socket.socket, count: int) -> bytes:
    """Read so many bytes, or what there is before the end."""
    parts = []
    while count and (part := sock.recv(min(count, 65536))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def carried(one: LinkProcess, two: LinkProcess, data: bytes) -> bytes:
    """Return what comes back from a role of the second that gets something from one of the first."""
    with joined(one, two) as (near, far):
        near.sendall(data)
        far.sendall(read(far, len(data)))
        return read(near, len(data))


def wait_for(holds: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
