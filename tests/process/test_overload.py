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
from gang import ROOT, Gang, other_process

from mxspark.agent import launch, role_process
from mxspark.protocol import events

SLOW = {"FAKE_STEPS": "100000"}


def test_a_flood_of_lines_costs_a_bounded_log_and_no_memory(tmp_path: Path) -> None:
    """Roles write straight into their log file, so no agent has to keep up; the agent cuts a log that is too long."""
    faults = {("worker", 0): {"at": "middle", "do": "flood lines"}, ("worker", 1): {"at": "end", "do": "flood lines"}}
    with Gang(tmp_path, faults=faults, environment={"FAKE_STEPS": "60"}) as gang:
        gang.start()
        agents = [psutil.Process(handle.pid) for handle in (*gang.slots, gang.driver)]
        gang.until_all(events.Started, 2)
        before = [agent.memory_info().rss for agent in agents]
        peaks = list(before)

        def done(report: events.Reported) -> bool:
            peaks[:] = [max(peak, agent.memory_info().rss) for peak, agent in zip(peaks, agents)]
            return isinstance(report.event, events.Done)

        gang.until(done)
        gang.until(done)
        ended = gang.end()
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
    with cgroup(*limit) as folder, Gang(tmp_path, faults=faults, environment=SLOW) as gang:
        gang.start(ranks=[0])
        with inside(folder):
            gang.slots.append(launch.slot_agent(gang.slot_spec(1), sys.executable))
        cause = gang.end().cause
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
    with cgroup("pids", "pids.max", 30) as folder, Gang(tmp_path, faults=faults, environment=SLOW) as gang:
        gang.start(ranks=[0])
        with inside(folder):
            gang.slots.append(launch.slot_agent(gang.slot_spec(1), sys.executable))
        cause = gang.end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("limit", "worker", 1)
    assert "Resource temporarily unavailable" in cause.message and "cgroup pids.max is 30" in cause.message


def test_a_limit_on_open_files_is_named_in_a_role(tmp_path: Path) -> None:
    faults = {("worker", 1): {"at": "middle", "do": "open files"}}
    with Gang(tmp_path, faults=faults, environment=SLOW) as gang:
        gang.start()
        gang.until_all(events.RoleStarted, 5)
        resource.prlimit(gang.pid("worker", 1), resource.RLIMIT_NOFILE, (64, 64))
        cause = gang.end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("limit", "worker", 1)
    assert "Too many open files" in cause.message and "RLIMIT_NOFILE is 64" in cause.message


def test_a_limit_on_open_files_is_named_in_an_agent(tmp_path: Path) -> None:
    """It meets the limit when it starts its roles."""
    with Gang(tmp_path) as gang:
        for rank in range(2):
            gang.slots.append(launch.slot_agent(gang.slot_spec(rank), sys.executable))
        gang.until_all(events.Joined, 2)
        open_now = psutil.Process(gang.slots[1].pid).num_fds()
        resource.prlimit(gang.slots[1].pid, resource.RLIMIT_NOFILE, (open_now + 1, open_now + 1))
        gang.begin()
        cause = gang.end().cause
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
from gang import Gang
with Gang(Path("/mnt")) as gang:
    cause = gang.start().end().cause
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
