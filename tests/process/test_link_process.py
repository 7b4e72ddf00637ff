"""An agent and its link: one process, one owner, and no end that goes unseen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

import psutil
import pytest
from links import PATIENCE_S, ROOT, Role, identity, reach, read

from mxspark.agent.link_process import LinkProcess
from mxspark.agent.role_process import Settings, base_environment
from mxspark.protocol import link
from mxspark.system.loop import Loop

OURS = identity()


class Owner:
    """Some links of hosts, in the loop of one agent, and what was heard of them."""

    def __init__(self, folder: Path, hosts: int = 2, stopped_s: float = PATIENCE_S) -> None:
        self.loop = Loop()
        self.heard: list[tuple[int, link.Message]] = []
        self.ended: list[tuple[int, Optional[str]]] = []
        self.links: list[LinkProcess] = []
        for host in range(hosts):
            (folder / str(host)).mkdir()
            settings = Settings(
                sys.executable, (str(ROOT),), base_environment(dict(os.environ)), folder, f"{host}-", {}
            )
            self.links.append(
                LinkProcess(
                    self.loop,
                    settings,
                    "run",
                    lambda message, host=host: self._note(self.heard, (host, message)),  # type: ignore[misc]
                    lambda why, host=host: self._note(self.ended, (host, why)),  # type: ignore[misc]
                    stopped_s,
                )
            )
        self.folder = folder

    def _note(self, where: list[Any], what: Any) -> None:
        where.append(what)
        self.loop.stop()

    def until(self, holds: Any) -> None:
        """Turn until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, (self.heard, self.ended)
            self.loop.__dict__["_running"] = True
            timer = self.loop.after(1.0, self.loop.stop)
            self.loop.run()
            timer.cancel()

    def of(self, kind: type[Any]) -> list[Any]:
        """Return what was heard of a kind."""
        return [message for _, message in self.heard if isinstance(message, kind)]

    def connect(self) -> None:
        """Have them meet; a role of the second has socket 77."""
        for each in self.links:
            each.tell(link.OpenPort(OURS, "127.0.0.1"))
        self.until(lambda: len(self.of(link.PortOpen)) == len(self.links))
        at = {
            host: (message.address, message.port) for host, message in self.heard if isinstance(message, link.PortOpen)
        }
        hosts = tuple(at[host] for host in sorted(at))
        for host, each in enumerate(self.links):
            here, there = ((77,), ()) if host == 1 else ((), ((77, 1),))
            each.tell(link.Connect(1, host, hosts, here, there, str(self.folder / str(host)), False, 60.0, 60.0))
        self.until(lambda: len(self.of(link.Connected)) == len(self.links))


def test_an_agent_starts_links_that_carry_and_stops_them(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.connect()
    with Role(tmp_path / "1") as role, reach(tmp_path / "0") as near, role.accept() as far:
        near.sendall(b"hello")
        assert read(far, 5) == b"hello"
    for each in owner.links:
        assert psutil.Process(each.pid).ppid() == os.getpid() and os.getpgid(each.pid) == each.pid
        each.tell(link.Disconnect(1))
    owner.until(lambda: len(owner.of(link.Disconnected)) == 2)
    sums = {(message.bytes_sent, message.bytes_received) for message in owner.of(link.Disconnected)}
    assert sums == {(5, 0), (0, 5)}
    for each in owner.links:
        each.stop()
    owner.until(lambda: len(owner.ended) == 2)
    assert sorted(owner.ended) == [(0, None), (1, None)]
    assert [path.read_text() for path in tmp_path.glob("*.log")] == ["", ""]


def test_a_killed_link_is_named_and_its_sockets_are_removed(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.connect()
    assert (tmp_path / "0" / "77").is_socket()
    os.kill(owner.links[0].pid, signal.SIGKILL)
    owner.until(lambda: owner.ended and owner.of(link.Broken))
    why = "killed by SIGKILL (another process, or the kernel when memory ran out)"
    assert owner.ended[0] == (0, f"the link of this host (pid {owner.links[0].pid}) {why}")
    assert [message.host for message in owner.of(link.Broken)] == [0], "the other one says so too"
    assert not (tmp_path / "0" / "77").exists()
    owner.links[1].kill()
    owner.until(lambda: len(owner.ended) == 2)


def test_a_stopped_link_is_killed_and_named(tmp_path: Path) -> None:
    owner = Owner(tmp_path, stopped_s=1.0)
    owner.connect()
    os.kill(owner.links[1].pid, signal.SIGSTOP)
    owner.until(lambda: owner.ended and owner.of(link.Broken))
    why = "has been stopped by a signal for 1 s"
    assert owner.ended[0] == (1, f"the link of this host (pid {owner.links[1].pid}) {why}")
    owner.links[0].stop()
    owner.until(lambda: len(owner.ended) == 2)


def test_a_stopped_link_does_not_keep_its_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mxspark.agent.link_process.STOP_S", 0.5)
    owner = Owner(tmp_path, hosts=1)
    os.kill(owner.links[0].pid, signal.SIGSTOP)
    owner.links[0].stop()
    owner.until(lambda: owner.ended)
    assert owner.ended == [(0, None)]


AGENT = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_link_process import Owner
owner = Owner(Path(sys.argv[1]))
print(*[each.pid for each in owner.links], flush=True)
owner.loop.run()
"""


def test_a_link_ends_with_its_agent_whatever_happens_to_that(tmp_path: Path) -> None:
    command = [sys.executable, "-c", AGENT, str(tmp_path), *sys.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        links = [psutil.Process(int(pid)) for pid in agent.stdout.readline().split()]
        os.kill(links[0].pid, signal.SIGSTOP)  # one that could not see it
        agent.kill()
    assert len(links) == 2 and not psutil.wait_procs(links, timeout=PATIENCE_S)[1]
