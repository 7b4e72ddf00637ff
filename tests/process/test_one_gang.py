"""A whole attempt with real agents: the normal end, and every way a role can spoil it."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from agent_group import AT_ONCE_S, PATIENCE_S, AgentGroup, freeze, is_alive

from mxspark.agent import launch
from mxspark.protocol import commands, events
from mxspark.protocol.specs import Limits
from mxspark.topology import placement

SLOW = {"FAKE_STEPS": "100000"}


@pytest.mark.parametrize(("workers", "servers", "on_driver"), [(1, 1, 1), (2, 2, 0), (3, 4, 1)])
def test_normal_end(tmp_path: Path, workers: int, servers: int, on_driver: int) -> None:
    with AgentGroup(tmp_path, workers, servers, on_driver) as group:
        ended = group.start().end()
        assert ended == events.Ended(None, (), ended.logs)
        assert sorted(ended.logs) == sorted(f"{role}-{rank}" for role, rank in group.roles)
        assert [slot.wait(PATIENCE_S) for slot in group.slots] == [
            {"outcome": "finished", "message": "", "left": []}
        ] * workers
        assert group.channel.receive(PATIENCE_S) is None and group.driver.wait(PATIENCE_S)["outcome"] == "finished"
        group.assert_nothing_left(0.0)
    exits = [report.event for report in group.reported if isinstance(report.event, events.RoleEnded)]
    assert [(exit.returncode, exit.expected) for exit in exits] == [(0, True)] * (workers + servers + 1)


VICTIMS = [("scheduler", 0), ("server", 0), ("server", 2), ("worker", 0), ("worker", 1)]


@pytest.mark.parametrize("phase", ["start", "formed", "middle", "end"])
@pytest.mark.parametrize(("role", "rank"), VICTIMS)
def test_a_killed_role_ends_everything_at_once(tmp_path: Path, role: str, rank: int, phase: str) -> None:
    faults: dict[tuple[str, int], dict[str, Any]] = {}
    if phase in ("start", "end"):
        faults[role, rank] = {"at": phase, "do": "hang"}
        faults.setdefault(("worker", 0), {"at": "end", "do": "hang"})
    with AgentGroup(tmp_path, servers=3, on_driver=1, faults=faults, environment=None if faults else SLOW) as group:
        group.start()
        group.until_all(events.RoleStarted, 6)
        if phase == "formed":
            group.until_all(events.Formed, 5)
        elif phase in ("middle", "end"):
            group.until(lambda report: isinstance(report.event, events.Beat) and report.event.step >= 8)
        everyone = group.tagged()
        victim = group.pid(role, rank)
        assert is_alive(victim) and len(everyone) == 6
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        ended = group.end()
        seconds = time.monotonic() - began
        group.assert_nothing_left(0.0)
        assert [slot.wait(PATIENCE_S)["outcome"] for slot in group.slots] == ["stopped", "stopped"]
        assert group.driver.wait(PATIENCE_S)["outcome"] == "died"  # a failed attempt is a failed process
    assert seconds < AT_ONCE_S
    cause = ended.cause
    assert cause is not None and (cause.kind, cause.role, cause.rank, cause.pid) == ("role", role, rank, victim)
    assert cause.signal == "SIGKILL" and cause.exit_code is None and "killed by SIGKILL" in cause.message
    assert cause.host == os.uname().nodename


@pytest.mark.parametrize(
    ("deed", "kind", "words"),
    [
        ("raise", "training", "ZeroDivisionError: division by zero"),
        ("exit 0", "role", "ended with exit code 0 before its work was done"),
        ("exit 3", "role", "ended with exit code 3"),
        ("garbage", "role", "it reported Joined, which is not for a role to say"),
        ("not a frame", "role", "a frame of 4294967295 bytes was announced"),
    ],
)
def test_a_worker_that_spoils_it(tmp_path: Path, deed: str, kind: str, words: str) -> None:
    with AgentGroup(tmp_path, faults={("worker", 1): {"at": "middle", "do": deed}}, environment=SLOW) as group:
        ended = group.start().end()
        group.assert_nothing_left()
    cause = ended.cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == (kind, "worker", 1)
    assert words in cause.message and cause.pid == group.pid("worker", 1)
    if deed == "raise":
        assert cause.traceback == "line 1\nline 2"


def test_the_last_words_of_a_worker_come_before_its_end(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, faults={("worker", 1): {"at": "middle", "do": "raise"}}, environment=SLOW) as group:
        group.start()
        group.until(group.saw(events.Started, "worker", 1))
        freeze(group.slots[1].pid)  # so that both are there when the agent looks
        deadline = time.monotonic() + PATIENCE_S
        while is_alive(group.pid("worker", 1)) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(group.slots[1].pid, signal.SIGCONT)
        cause = group.end().cause
    assert cause is not None and cause.kind == "training" and cause.traceback == "line 1\nline 2"


def test_a_server_that_leaves_early(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, faults={("server", 1): {"at": "formed", "do": "exit 0"}}, environment=SLOW) as group:
        cause = group.start().end().cause
    assert cause is not None and (cause.role, cause.rank, cause.exit_code) == ("server", 1, 0)
    assert "before its work was done" in cause.message


def test_a_hanging_worker_shows_its_stacks(tmp_path: Path) -> None:
    limits = Limits(start_s=20, hang_s=3.0, lease_s=60, shutdown_s=60)
    faults = {("worker", rank): {"at": "middle", "do": "hang"} for rank in (0, 1)}
    with AgentGroup(tmp_path, limits=limits, faults=faults) as group:
        group.start()
        group.until(lambda report: isinstance(report.event, events.Beat) and report.event.step == 5)
        began = time.monotonic()
        ended = group.end()
        seconds = time.monotonic() - began
        group.assert_nothing_left()
    cause = ended.cause
    assert cause is not None and cause.kind == "hang" and cause.role == "worker" and cause.step == 5
    assert "no progress since step 5 for failure.hang_s = 3 s" in cause.message
    assert "in hang" in cause.log_tail and "Current thread" in cause.log_tail
    assert all("in hang" in ended.logs[f"worker-{rank}"] for rank in (0, 1))
    assert 2.9 < seconds < AT_ONCE_S


def test_a_stopped_worker_is_named_and_shows_its_stacks(tmp_path: Path) -> None:
    limits = Limits(start_s=20, hang_s=3.0, lease_s=60, shutdown_s=60)
    faults = {("worker", 0): {"at": "end", "do": "hang"}}
    with AgentGroup(tmp_path, limits=limits, faults=faults, environment={"FAKE_STEPS": "50"}) as group:
        group.start()
        group.until(lambda report: isinstance(report.event, events.Beat) and report.rank == 1)
        freeze(group.pid("worker", 1))
        cause = group.end().cause
    assert cause is not None and (cause.kind, cause.rank, cause.signal) == ("hang", 1, "SIGSTOP")
    assert "it was stopped by a signal (state T in /proc); kill -CONT" in cause.message
    assert "state T" in cause.log_tail and "Current thread" in cause.log_tail


def test_a_group_that_does_not_form_shows_where_it_stands(tmp_path: Path) -> None:
    limits = Limits(start_s=4.0, hang_s=60, lease_s=60, shutdown_s=60)
    with AgentGroup(tmp_path, limits=limits, faults={("worker", 1): {"at": "start", "do": "hang"}}) as group:
        group.start()
        group.until_all(events.Loaded, 4)  # of the scheduler, two servers and worker 0
        freeze(group.pid("worker", 1))
        ended = group.end()
    cause = ended.cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("start", "worker", 1)
    assert cause.signal == "SIGSTOP" and "it was stopped by a signal" in cause.message
    assert "most recent call first" in ended.logs["worker-0"], "who only waits shows for whom"


def test_a_role_stopped_before_it_could_show_where_it_stands_is_named(tmp_path: Path) -> None:
    limits = Limits(start_s=4.0, hang_s=60, lease_s=60, shutdown_s=60)
    with AgentGroup(tmp_path, limits=limits) as group:
        group.start()
        started = "worker", 1
        group.until(
            lambda report: (
                isinstance(report.event, events.RoleStarted) and (report.event.role, report.event.rank) == started
            )
        )
        freeze(group.pid("worker", 1))  # in its first milliseconds: to be asked for its stacks ends it
        cause = group.end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank, cause.signal) == ("start", "worker", 1, "SIGSTOP")


@pytest.mark.parametrize("role", ["server", "scheduler"])
def test_a_stopped_role_is_named_and_not_the_workers_that_wait(tmp_path: Path, role: str) -> None:
    limits = Limits(start_s=20, hang_s=3.0, lease_s=60, shutdown_s=60)
    waiting = {("worker", rank): {"at": "middle", "do": "hang"} for rank in (0, 1)}
    with AgentGroup(tmp_path, limits=limits, faults=waiting) as group:
        group.start()
        group.until_all(events.Started, 2)
        freeze(group.pid(role, 0))
        ended = group.end()
    cause = ended.cause
    assert cause is not None and (cause.kind, cause.role, cause.rank, cause.signal) == ("hang", role, 0, "SIGSTOP")
    assert cause.pid == group.pid(role, 0)
    for name in ("scheduler-0", "server-0", "server-1", "worker-0", "worker-1"):
        assert "most recent call first" in ended.logs[name], f"the stacks of {name} are in the report"


@pytest.mark.parametrize("role", ["server", "scheduler"])
def test_a_stopped_role_that_none_waits_for_is_found(tmp_path: Path, role: str) -> None:
    limits = Limits(start_s=20, hang_s=3.0, lease_s=60, shutdown_s=60)
    with AgentGroup(tmp_path, limits=limits, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 2)
        freeze(group.pid(role, 0))
        cause = group.end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank, cause.signal) == ("hang", role, 0, "SIGSTOP")
    assert "it stood still for failure.hang_s = 3 s" in cause.message


def test_a_worker_in_endless_code_of_the_user_is_named(tmp_path: Path) -> None:
    limits = Limits(start_s=20, hang_s=3.0, lease_s=60, shutdown_s=60)
    faults = {("worker", 0): {"at": "middle", "do": "wait"}, ("worker", 1): {"at": "middle", "do": "hang"}}
    with AgentGroup(tmp_path, limits=limits, faults=faults) as group:
        cause = group.start().end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("hang", "worker", 1)
    assert "its main thread is in hang (" in cause.message and "fake_roles.py, line" in cause.message


@pytest.mark.parametrize(
    ("deed", "kind", "words"),
    [
        ("no memory", "memory", "out of memory ("),
        ("no room", "disk", "the disk mounted at /dev"),
        ("crash", "role", "killed by SIGSEGV"),
        ("bad alloc", "memory", "killed by SIGABRT: out of memory ("),
    ],
)
def test_the_kind_of_a_cause(tmp_path: Path, deed: str, kind: str, words: str) -> None:
    with AgentGroup(tmp_path, faults={("worker", 1): {"at": "middle", "do": deed}}, environment=SLOW) as group:
        cause = group.start().end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == (kind, "worker", 1)
    assert words in cause.message
    if kind == "memory":
        assert "GiB of memory on this host" in cause.message
    if deed == "crash":
        assert "Fatal Python error: Segmentation fault" in cause.log_tail and "in crash" in cause.log_tail


def test_a_role_that_never_comes_is_named(tmp_path: Path) -> None:
    limits = Limits(start_s=8, hang_s=120, lease_s=60, shutdown_s=60)
    with AgentGroup(tmp_path, limits=limits, faults={("server", 1): {"at": "start", "do": "hang"}}) as group:
        cause = group.start().end().cause
        group.assert_nothing_left()
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("start", "server", 1)
    assert "did not form within failure.start_s = 8 s: server 1 has not loaded MXNet; " in cause.message


def test_an_agent_that_never_comes_is_named(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, limits=Limits(start_s=5.0, hang_s=120, lease_s=60, shutdown_s=60)) as group:
        cause = group.start(ranks=[0]).end().cause
        group.assert_nothing_left()
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("start", "agent", 1)
    assert "agent 1 has not joined (is its Spark task running?)" in cause.message


def test_a_group_that_does_not_start_to_train(tmp_path: Path) -> None:
    limits = Limits(start_s=8, hang_s=120, lease_s=60, shutdown_s=60)
    with AgentGroup(tmp_path, limits=limits, faults={("worker", 1): {"at": "formed", "do": "hang"}}) as group:
        cause = group.start().end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("start", "worker", 1)
    assert "formed but did not start to train" in cause.message


def test_parameters_that_differ(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, faults={("worker", 1): {"digest": "other"}}) as group:
        cause = group.start().end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("internal", "worker", 1)
    assert "parameters differ between ranks at the end (worker 0: same, worker 1: other)" in cause.message


def test_a_straggler_is_killed_and_named_and_the_run_stays_a_success(tmp_path: Path) -> None:
    limits = Limits(start_s=120, hang_s=120, lease_s=60, shutdown_s=3)
    with AgentGroup(tmp_path, limits=limits, faults={("server", 1): {"at": "end", "do": "hang"}}) as group:
        ended = group.start().end()
        group.assert_nothing_left()
        assert [slot.wait(PATIENCE_S)["outcome"] for slot in group.slots] == ["finished", "finished"]
    assert ended.cause is None
    left = [line for r in group.reported if isinstance(r.event, events.Stopped) for line in r.event.left]
    assert left == [f"server-1 (pid {group.pid('server', 1)}) had to be killed to end"]


def test_a_wrong_rank_and_a_missing_socket_are_found(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, faults={("worker", 1): {"at": "loaded", "do": "wrong socket"}}) as group:
        cause = group.start().end().cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("role", "worker", 1)
    assert "did not bind its socket /tmp/" in cause.message
    with AgentGroup(tmp_path, faults={("worker", 1): {"rank": 0}}) as group:
        cause = group.start().end().cause
    assert cause is not None and cause.message == "it is rank 1 but the group made it rank 0"


def test_another_host_is_refused_with_words(tmp_path: Path) -> None:
    ours = "another-boot/1:2/0"
    with AgentGroup(tmp_path, identity=ours) as group:
        cause = group.start().end().cause
        group.assert_nothing_left()
    assert cause is not None and cause.kind == "host" and cause.role == "agent"
    assert "they are different hosts" in cause.message and "run all tasks on the driver's host" in cause.message


def test_stop_from_the_driver(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 2)
        began = time.monotonic()
        group.stop("the user pressed Ctrl-C")
        ended = group.end()
        assert time.monotonic() - began < AT_ONCE_S
        group.assert_nothing_left(0.0)
    assert ended.cause is not None and ended.others == ()
    assert (ended.cause.kind, ended.cause.message) == ("interrupted", "the user pressed Ctrl-C")


def test_grandchildren_go_with_their_role(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, faults={("worker", 1): {"at": "middle", "do": "spawn"}}, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 2)
        worker = psutil.Process(group.pid("worker", 1))
        deadline = time.monotonic() + PATIENCE_S
        while len(family := worker.children(recursive=True)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(family) == 2, "a child, and its child in another session"
        worker.kill()
        group.end()
        group.assert_nothing_left(0.0)
        assert not any(is_alive(child.pid) for child in family)


def test_a_flooded_log_is_cut_and_may_hold_anything(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, faults={("worker", 0): {"at": "middle", "do": "flood log"}}) as group:
        ended = group.start().end()
    assert ended.cause is None
    assert (tmp_path / "logs" / "worker-0.log").stat().st_size == 20 * 2**20
    assert 30_000 < len(ended.logs["worker-0"]) <= 65536


def test_a_flooded_channel_slows_nobody_else(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, faults={("worker", 0): {"at": "middle", "do": "flood channel"}}) as group:
        group.start()
        group.until_all(events.Started, 2)
        time.sleep(1.0)  # the driver does not read for a while: beats must be dropped, not piled up
        agents = [group.driver.pid, *(slot.pid for slot in group.slots)]
        assert max(psutil.Process(pid).memory_info().rss for pid in agents) < 60 * 2**20
        assert group.end().cause is None


def test_a_role_is_given_nothing_that_was_not_meant_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaks = (
        "PORT",
        "DMLC_INTERFACE",
        "PS_VERBOSE",
        "MXNET_ENGINE_TYPE",
        "http_proxy",
        "PYTHONPATH",
        "LD_PRELOAD_X",
        "SECRET",
    )
    for name in leaks:
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    every = (("scheduler", 0), ("server", 0), ("server", 1), ("worker", 0), ("worker", 1))
    faults = {who: {"at": "loaded", "do": "show environment"} for who in every}
    with AgentGroup(tmp_path, on_driver=1, faults=faults, environment={"MY_SETTING": "1"}) as group:
        logs = group.start().end().logs
    meant = placement.plan_roles(group.wanted, ["here"] * 2, host_address="127.0.0.1", run_tag=group.run_id)
    for role in [*meant.driver, *(role for slot in meant.slots for role in slot)]:
        shown = json.loads(logs[f"{role.role}-{role.rank}"])
        named = {"MXSPARK_CHANNEL", "MXSPARK_SYS_PATH", "FAKE", "FAKE_FOLDER", *role.environment}
        allowed = {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LC_ALL", "LC_CTYPE"}
        assert set(shown) <= named | allowed, set(shown) - named - allowed
        drawn = {"PORT", "DMLC_PS_ROOT_PORT"}
        assert {name: shown[name] for name in role.environment.keys() - drawn} == {
            name: value for name, value in role.environment.items() if name not in drawn
        }
        assert drawn <= set(shown)
        assert "leaked" not in shown.values() and group.secret not in json.dumps(shown)
        assert shown["LC_ALL"] == "C.UTF-8" and shown["MY_SETTING"] == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a hard limit")
def test_the_limit_spark_sets_for_python_is_lifted(tmp_path: Path) -> None:
    gigabytes = 4 * 2**30
    faults = {("worker", 0): {"at": "loaded", "do": "show limit"}}
    with AgentGroup(tmp_path, 1, 1, faults=faults) as group:
        group.begin()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (gigabytes, before[1]))
        try:
            group.slots.append(launch.slot_agent(group.slot_spec(0), sys.executable))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        assert resource.prlimit(group.slots[0].pid, resource.RLIMIT_AS)[0] == gigabytes
        assert group.end().logs["worker-0"] == f"{(resource.RLIM_INFINITY, resource.RLIM_INFINITY)}\n"


def test_nothing_listens_but_the_control_port(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 2)
        processes = [group.driver.pid, *(slot.pid for slot in group.slots), *group.tagged()]
        assert len(processes) == 3 + 5
        listening = {
            (connection.laddr.ip, connection.laddr.port)
            for pid in processes
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {group.address} and group.address[0] == "127.0.0.1"
        for path in group.sockets:
            assert os.stat(path).st_mode & 0o777 == 0o700, "for its owner alone"
        for pid in processes:
            assert group.secret not in " ".join(psutil.Process(pid).cmdline())
            assert group.secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_socket_of_somebody_else_stays(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 2)
        path = group.socket("worker", 1)
        path.unlink()
        path.write_text("not a socket")
        try:
            group.stop()
            group.end()
            assert path.read_text() == "not a socket"
        finally:
            path.unlink()


def test_committed_reaches_the_workers(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment={"FAKE_STEPS": "40"}) as group:
        group.start()
        group.until_all(events.Started, 2)
        group.tell(commands.Committed(4))
        logs = group.end().logs
    assert logs["worker-0"] == logs["worker-1"] == "committed 4\n"
