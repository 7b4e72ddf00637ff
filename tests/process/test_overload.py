"""Too much of everything: log lines, memory, files, processes, a full /tmp. Bounded, and named."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from agent_group import ROOT, AgentGroup, other_process

from mxspark.agent import launch, role_process
from mxspark.protocol import events

SLOW = {"FAKE_STEPS": "100000"}


def test_a_flood_of_lines_costs_a_bounded_log_and_no_memory(tmp_path: Path) -> None:
    """Roles write straight into their log file, so no agent has to keep up; the agent cuts a log that is too long."""
    faults = {("worker", 0): {"at": "middle", "do": "flood lines"}, ("worker", 1): {"at": "end", "do": "flood lines"}}
    with AgentGroup(tmp_path, faults=faults, environment={"FAKE_STEPS": "60"}) as group:
        group.start()
        agents = [psutil.Process(handle.pid) for handle in (*group.slots, group.driver)]
        group.until_all(events.Started, 2)
        before = [agent.memory_info().rss for agent in agents]
        peaks = list(before)

        def done(report: events.Reported) -> bool:
            peaks[:] = [max(peak, agent.memory_info().rss) for peak, agent in zip(peaks, agents)]
            return isinstance(report.event, events.Done)

        group.until(done)
        group.until(done)
        ended = group.end()
        sizes = [path.stat().st_size for path in sorted((tmp_path / "logs").glob("worker-*.log"))]
    assert ended.cause is None
    assert max(peak - start for peak, start in zip(peaks, before)) < 16 * 2**20
    assert len(sizes) == 2 and max(sizes) <= role_process.LOG_LIMIT + 2**25, (
        "what is written between two looks comes on top"
    )
    assert "dropped here" in (tmp_path / "logs/worker-0.log").read_text()


@contextlib.contextmanager
def cgroup(controller: str, name: str, value: int) -> Iterator[Path]:
    """Make a cgroup with one limit (v1, or v2 where the controller is delegated), and remove it."""
    root = Path("/sys/fs/cgroup")
    v1 = (root / controller).is_dir()
    folder = (root / controller if v1 else root) / f"mxspark-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        try:
            (folder / name).write_text(str(value))
        except OSError as error:
            pytest.skip(f"no {name} can be set here: {error}")
        yield folder
    finally:
        folder.rmdir()


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Let the processes that are started meanwhile be in a cgroup."""
    here = Path("/proc/self/cgroup").read_text()
    controller = folder.parent.name if folder.parent != Path("/sys/fs/cgroup") else ""
    path = next(line.split(":", 2)[2] for line in here.splitlines() if line.split(":", 2)[1] == controller)
    back = folder.parent / path.lstrip("/")
    (folder / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (back if back.exists() else folder.parent).joinpath("cgroup.procs").write_text(str(os.getpid()))


def test_a_kill_by_the_kernel_for_lack_of_memory_is_named_with_its_limit(tmp_path: Path) -> None:
    v1 = Path("/sys/fs/cgroup/memory").is_dir()
    limit = ("memory", "memory.limit_in_bytes" if v1 else "memory.max", 200 * 2**20)
    faults = {("worker", 1): {"at": "middle", "do": "bloat"}}
    with cgroup(*limit) as folder, AgentGroup(tmp_path, faults=faults, environment=SLOW) as group:
        group.start(ranks=[0])
        with inside(folder):
            group.slots.append(launch.slot_agent(group.slot_spec(1), sys.executable))
        cause = group.end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank, cause.signal) == (
        "memory",
        "worker",
        1,
        "SIGKILL",
    )
    assert "the kernel ended a process for lack of memory" in cause.message
    assert "cgroup memory limit 0.195 GiB" in cause.message


def test_a_limit_on_processes_is_named(tmp_path: Path) -> None:
    faults = {("worker", 1): {"at": "middle", "do": "fork"}}
    with cgroup("pids", "pids.max", 30) as folder, AgentGroup(tmp_path, faults=faults, environment=SLOW) as group:
        group.start(ranks=[0])
        with inside(folder):
            group.slots.append(launch.slot_agent(group.slot_spec(1), sys.executable))
        cause = group.end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("limit", "worker", 1)
    assert "Resource temporarily unavailable" in cause.message and "cgroup pids.max is 30" in cause.message


def test_a_limit_on_open_files_is_named_in_a_role(tmp_path: Path) -> None:
    faults = {("worker", 1): {"at": "middle", "do": "open files"}}
    with AgentGroup(tmp_path, faults=faults, environment=SLOW) as group:
        group.start()
        group.until_all(events.RoleStarted, 5)
        resource.prlimit(group.pid("worker", 1), resource.RLIMIT_NOFILE, (64, 64))
        cause = group.end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("limit", "worker", 1)
    assert "Too many open files" in cause.message and "RLIMIT_NOFILE is 64" in cause.message


def test_a_limit_on_open_files_is_named_in_an_agent(tmp_path: Path) -> None:
    """It meets the limit when it starts its roles."""
    with AgentGroup(tmp_path) as group:
        for rank in range(2):
            group.slots.append(launch.slot_agent(group.slot_spec(rank), sys.executable))
        group.until_all(events.Joined, 2)
        open_now = psutil.Process(group.slots[1].pid).num_fds()
        resource.prlimit(group.slots[1].pid, resource.RLIMIT_NOFILE, (open_now + 1, open_now + 1))
        group.begin()
        cause = group.end().cause
    assert cause is not None and (cause.kind, cause.rank) == ("limit", 1)
    assert "Too many open files" in cause.message and f"RLIMIT_NOFILE is {open_now + 1}" in cause.message


IN_A_FULL_TMP = """
import ctypes, os, subprocess, sys, tempfile
from pathlib import Path
folder = Path(sys.argv[1])
assert ctypes.CDLL(None, use_errno=True).unshare(0x20000) == 0  # CLONE_NEWNS: what follows is for this process alone
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", "--bind", folder, "/mnt"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "none", "/tmp"], check=True)
os.environ["TMPDIR"] = tempfile.tempdir = "/mnt"
from agent_group import AgentGroup
with AgentGroup(Path("/mnt")) as group:
    cause = group.start().end().cause
print(cause.kind, cause.role, cause.message)
"""


IN_TMP = str(ROOT).startswith("/tmp/") or sys.prefix.startswith("/tmp/")


@pytest.mark.skipif(os.geteuid() != 0 or IN_TMP, reason="only root may mount, and the checkout must not lie in /tmp")
def test_a_full_tmp_is_named(tmp_path: Path) -> None:
    """Where the roles' sockets would be."""
    with other_process(IN_A_FULL_TMP, str(tmp_path)) as program:
        said = program.communicate(timeout=180)[0]
    assert said.startswith("disk "), said
    assert "the disk mounted at /tmp has none of its 1 inodes left" in said
