"""The workers of a host get memory they share, through their agents, and nobody else does."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from agent_group import AgentGroup, freeze

from mxspark.agent import host_group, launch
from mxspark.protocol import events
from mxspark.protocol.specs import Inherited, Meeting
from mxspark.system.loop import Loop

SHARE = {("worker", rank): {"at": "formed", "do": "share"} for rank in range(3)}
SLOW = {"FAKE_STEPS": "100000"}
SECRET = b"s" * 32


def memfds(pid: int) -> list[str]:
    """Return the shared segments a process has open."""
    return [name for name in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()) if "memfd:mxspark" in name]


@pytest.mark.parametrize("servers", [0, 1])
def test_workers_share_memory_and_agents_keep_none(tmp_path: Path, servers: int) -> None:
    with AgentGroup(tmp_path, workers=3, servers=servers, hosts=1, faults=SHARE, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 3)
        logs = [(tmp_path / f"logs/worker-{rank}.log").read_text() for rank in range(3)]
        assert [log.strip() for log in logs] == ["segments: ['of 0', 'of 1', 'of 2']"] * 3
        assert [len(memfds(group.pid("worker", rank))) for rank in range(3)] == [4] * 3
        assert not [name for slot in group.slots for name in memfds(slot.pid)], "gone with the last worker"
        assert not os.path.lexists(group.meeting), "once all have met nobody can come"
        group.stop("seen enough")
        group.attempt_end()


def test_workers_of_two_hosts_meet_apart(tmp_path: Path) -> None:
    """Hosts are told apart by what their agents say. There is a server a host, and only the leaders know of it."""
    faults = {("worker", rank): {"at": "formed", "do": "share"} for rank in (0, 1)}
    with AgentGroup(tmp_path, workers=3, servers=None, hosts=2, faults=faults, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 3)
        assert group.placed[-1].hosts == ((0, 1), (2,)) and len(group.placed[-1].sockets) == 1 + 2 + 2 + 2
        logs = [(tmp_path / f"logs/worker-{rank}.log").read_text().strip() for rank in range(3)]
        assert logs == ["segments: ['of 0', 'of 1']"] * 2 + [""]
        started = [report.event for report in group.reported if isinstance(report.event, events.RoleStarted)]
        assert sorted(event.rank for event in started if event.role == "server") == [0, 1]
        group.stop("seen enough")
        group.attempt_end()


def test_each_attempt_has_memory_of_its_own(tmp_path: Path) -> None:
    with AgentGroup(
        tmp_path, workers=2, servers=1, hosts=1, faults=dict(list(SHARE.items())[:2]), environment=SLOW
    ) as group:
        group.start()
        group.until_all(events.Started, 2)
        first, path = group.pid("worker", 0), group.meeting
        inodes = {os.stat(f"/proc/{first}/fd/{fd}").st_ino for fd in os.listdir(f"/proc/{first}/fd")}
        psutil.Process(group.pid("worker", 1)).kill()
        assert group.attempt_end().cause is not None
        group.again(faults=dict(list(SHARE.items())[:2]))
        group.until_all(events.Started, 4)
        second = group.pid("worker", 0)
        again = {os.stat(f"/proc/{second}/fd/{fd}").st_ino for fd in os.listdir(f"/proc/{second}/fd")}
        assert path != group.meeting and len(memfds(second)) == 3
        assert not {inode for inode in inodes & again if inode in _segments(second)}
        group.stop("seen enough")
        group.attempt_end()


def _segments(pid: int) -> set[int]:
    folder = Path(f"/proc/{pid}/fd")
    return {os.stat(fd).st_ino for fd in folder.iterdir() if "memfd:mxspark" in os.readlink(fd)}


def test_strangers_are_sent_away_and_the_workers_still_meet(tmp_path: Path) -> None:
    """Without the secret, with too few bytes, or twice: nobody gets a descriptor who should not."""
    with AgentGroup(tmp_path, workers=2, servers=1, hosts=1, faults=dict(list(SHARE.items())[:2])) as group:
        group.start(ranks=[1])
        group.until(group.saw(events.Joined, "agent", 1))
        freeze(group.slots[0].pid)  # the leader waits for it
        group.slots.append(launch.slot_agent(group.slot_spec(0), sys.executable))
        group.until(group.saw(events.RoleStarted, "agent", 0))
        path = group.meeting
        for answer in (b"", b"x" * 7, b"\0\0\0\1" + secrets.token_bytes(64), secrets.token_bytes(200)):
            assert stranger(path, answer) == (b"", [])
        mode = os.lstat(path).st_mode
        assert stat.S_ISSOCK(mode) and not mode & 0o077, "for this user alone"
        os.kill(group.slots[0].pid, signal.SIGCONT)
        assert group.end().cause is None


def stranger(path: str, answer: bytes) -> tuple[bytes, list[int]]:
    """Come to a meeting, answer the nonce with some bytes, and return what comes back."""
    deadline = time.monotonic() + 60
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(60)
        while sock.connect_ex(path):
            assert time.monotonic() < deadline, "nobody is there"
            time.sleep(0.005)
        assert len(sock.recv(100)) == host_group.NONCE_BYTES
        sock.send(answer) if answer else sock.shutdown(socket.SHUT_WR)
        data, fds, _, _ = socket.recv_fds(sock, 100, 10)
        return data, list(fds)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_another_user_cannot_come(tmp_path: Path) -> None:
    loop = Loop()
    place = Meeting(((0, 1),), (0, 1), f"/tmp/{2**31 - 77}")
    host = host_group.Host(loop, place, 0, SECRET)
    try:
        code = f"import os, socket; os.setuid(65534); socket.socket(1, socket.SOCK_SEQPACKET).connect({place.socket!r})"
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert "PermissionError" in said.stderr
    finally:
        host.release_own()
        host.close()
    assert not os.path.lexists(place.socket)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose sockets have names that the kernel takes (unix(7): 108 bytes), wherever tests keep theirs."""
    folder = tempfile.mkdtemp(prefix="mxspark-", dir="/tmp")
    yield Path(folder)
    shutil.rmtree(folder)


def test_a_false_leader_is_found_out(short: Path) -> None:
    """It does not know the secret; the guest says so and takes nothing."""
    loop = Loop()
    place = Meeting(((0, 1),), (0, 1), str(short / "s"))
    false = host_group.Host(loop, place, 0, b"another" + SECRET)
    false._understand = lambda answer, nonce: (1, answer[4:-32])  # type: ignore[method-assign]
    taken: list[Inherited] = []
    said: list[str] = []

    def failed(why: str) -> None:
        said.append(why)
        loop.stop()

    before = len(os.listdir("/proc/self/fd"))
    host_group.Guest(loop, place, 1, SECRET, taken.append, failed)
    loop.after(10, loop.stop)
    loop.run()
    assert not taken and "is not the agent of worker 0: a wrong answer" in said[0]
    assert len(os.listdir("/proc/self/fd")) <= before, "what came with the answer is closed"
    false.release_own()
    false.close()
