"""What a role's life hangs on: its agent, the agent's starter, the driver, the lease. Each is cut while all live."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from agent_group import AT_ONCE_S, PATIENCE_S, AgentGroup, freeze, is_alive, other_process

from mxspark.agent import launch
from mxspark.protocol import codec, events
from mxspark.protocol.specs import Limits

SLOW = {"FAKE_STEPS": "100000"}
TASK = """
import json, sys
from mxspark.protocol import codec as values
from mxspark.agent import launch
from mxspark.protocol.specs import AgentSpec
agent = launch.slot_agent(values.decode(AgentSpec, json.loads(sys.stdin.readline())), sys.executable)
print(agent.pid, flush=True)
agent.wait()
"""
DRIVER = """
import sys
from pathlib import Path
from agent_group import AgentGroup
from mxspark.protocol import events
group = AgentGroup(Path(sys.argv[1]), environment={"FAKE_STEPS": "100000"}).__enter__().start()
group.until_all(events.Started, 2)
print(group.run_id, group.driver.pid, *(slot.pid for slot in group.slots), *group.sockets, flush=True)
sys.stdin.read()
"""


def running(group: AgentGroup) -> AgentGroup:
    """Start the group and wait until every worker trains."""
    group.start()
    group.until_all(events.Started, 2)
    roles = {group.pid(*who) for who in group.roles}
    assert len(roles) == 5
    # not at once: what begins or ends while we look is in one of the two lists alone
    wait_for("five roles, and what they themselves started", lambda: set(group.tagged()) - below(roles) == roles)
    return group


def below(pids: set[int]) -> set[int]:
    """Return what processes have started."""
    return {child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)}


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not seen: {what}"


def test_a_killed_slot_agent_takes_its_roles_along_and_is_named(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment=SLOW) as group:
        agent = running(group).slots[1].pid
        roles = [group.pid("worker", 1), group.pid("server", 1)]
        assert is_alive(agent) and all(map(is_alive, roles))
        began = time.monotonic()
        os.kill(agent, signal.SIGKILL)
        ended = group.end()
        assert time.monotonic() - began < AT_ONCE_S
        group.assert_nothing_left(0.0)
        assert group.slots[1].wait(PATIENCE_S)["message"].startswith(f"the agent (pid {agent}) killed by SIGKILL")
        assert group.slots[0].wait(PATIENCE_S)["outcome"] == "stopped"
    cause = ended.cause
    assert cause is not None and (cause.kind, cause.role, cause.rank, cause.pid) == ("agent", "agent", 1, agent)


def test_a_killed_slot_agent_without_a_driver_still_takes_its_roles_along(tmp_path: Path) -> None:
    faults = {("worker", 1): {"at": "middle", "do": "hang"}}  # it does not notice by itself
    with AgentGroup(tmp_path, faults=faults, environment=SLOW) as group:
        running(group)
        group.until(lambda report: isinstance(report.event, events.Beat) and (report.rank, report.event.step) == (1, 5))
        freeze(group.driver.pid)  # nobody else can be who kills them
        role, agent = group.pid("worker", 1), group.slots[1].pid
        assert is_alive(role) and is_alive(agent)
        os.kill(agent, signal.SIGKILL)
        deadline = time.monotonic() + AT_ONCE_S
        while is_alive(role) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_alive(role)
        os.kill(group.driver.pid, signal.SIGCONT)
        group.end()


def test_a_killed_driver_agent_leaves_nothing(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, on_driver=1, environment=SLOW) as group:
        running(group)
        assert is_alive(group.driver.pid)
        os.kill(group.driver.pid, signal.SIGKILL)
        outcomes = [slot.wait(PATIENCE_S) for slot in group.slots]
        assert [outcome["outcome"] for outcome in outcomes] == ["orphaned"] * 2
        assert "the driver's agent at 127.0.0.1:" in outcomes[0]["message"]
        assert not group.tagged()
        for path in group.sockets[:2]:  # nobody is left who could remove the scheduler's and the server's beside it
            Path(path).unlink(missing_ok=True)


def test_a_closed_driver_channel_ends_everything(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, on_driver=1, environment=SLOW) as group:
        running(group)
        began = time.monotonic()
        group.channel.close()
        assert [slot.wait(PATIENCE_S)["outcome"] for slot in group.slots] == ["stopped"] * 2
        assert group.driver.wait(PATIENCE_S)["outcome"] == "died"
        assert time.monotonic() - began < AT_ONCE_S
        group.assert_nothing_left(0.0)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_killed_driver_ends_everything(tmp_path: Path, frozen: bool) -> None:
    """Also if the end takes longer because the agent of a slot is stopped: the driver's death is noticed twice."""
    with other_process(DRIVER, str(tmp_path)) as driver:
        assert driver.stdout is not None
        run_id, *words = driver.stdout.readline().split()
        agents, sockets = [int(word) for word in words[:3]], words[3:]
        probe = AgentGroup(tmp_path)
        probe.run_id = run_id
        assert len(probe.tagged()) == 5 and all(map(is_alive, agents)) and all(map(os.path.exists, sockets))
        if frozen:
            freeze(agents[1])
        began = time.monotonic()
        driver.kill()
        assert driver.wait() == -signal.SIGKILL
        while time.monotonic() - began < AT_ONCE_S and (probe.tagged() or any(map(is_alive, agents))):
            time.sleep(0.02)
        assert not probe.tagged() and not any(map(is_alive, agents))
        assert not any(map(os.path.lexists, sockets))


def test_a_killed_task_ends_everything_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with AgentGroup(tmp_path, environment=SLOW) as group, other_process(TASK) as task:
        group.start(ranks=[0])
        assert task.stdin is not None and task.stdout is not None
        task.stdin.write(json.dumps(codec.encode(group.slot_spec(1, log_dir=None))) + "\n")
        task.stdin.flush()
        agent = int(task.stdout.readline())
        group.until_all(events.Started, 2)
        assert is_alive(agent) and is_alive(group.pid("worker", 1)) and list(tmp_path.glob("mxspark-*/worker-1.log"))
        began = time.monotonic()
        task.kill()
        assert task.wait() == -signal.SIGKILL
        ended = group.end()
        assert time.monotonic() - began < AT_ONCE_S
        group.assert_nothing_left(0.0)
        while is_alive(agent) and time.monotonic() - began < AT_ONCE_S:
            time.sleep(0.01)
        assert not is_alive(agent) and not list(tmp_path.glob("mxspark-*"))
    cause = ended.cause
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("agent", "agent", 1)
    assert "the process that started this agent is gone" in cause.message


@pytest.mark.parametrize("which", ["slot", "driver"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_polite_signal_ends_everything_and_is_named(tmp_path: Path, which: str, name: str) -> None:
    with AgentGroup(tmp_path, environment=SLOW) as group:
        running(group)
        os.kill(group.slots[1].pid if which == "slot" else group.driver.pid, getattr(signal, name))
        cause = group.end().cause
        group.assert_nothing_left()
    assert cause is not None and cause.role == "agent" and f"told to end by {name}" in cause.message


def test_leaving_the_with_block_ends_a_slot(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment=SLOW) as group:
        running(group)
        worker = group.pid("worker", 1)
        assert is_alive(worker)
        with group.slots[1]:
            pass
        assert not is_alive(worker) and not is_alive(group.slots[1].pid)
        cause = group.end().cause
        assert cause is not None and cause.rank == 1


def test_a_silent_driver_agent_loses_its_slots(tmp_path: Path) -> None:
    limits = Limits(start_s=120, hang_s=120, lease_s=3.0, shutdown_s=60)
    with AgentGroup(tmp_path, limits=limits, environment=SLOW) as group:
        running(group)
        began = time.monotonic()
        freeze(group.driver.pid)
        outcomes = [slot.wait(PATIENCE_S) for slot in group.slots]
        assert 1.8 < time.monotonic() - began < AT_ONCE_S
        assert all(
            outcome["outcome"] == "orphaned" and "(failure.lease_s = 3 s)" in outcome["message"] for outcome in outcomes
        )
        assert [pid for pid in group.tagged() if pid != group.pid("scheduler", 0)] == []
        os.kill(group.driver.pid, signal.SIGCONT)
        assert group.end().cause is not None


def test_a_silent_slot_agent_is_given_up_and_its_roles_are_killed(tmp_path: Path) -> None:
    limits = Limits(start_s=120, hang_s=120, lease_s=3.0, shutdown_s=60)
    with AgentGroup(tmp_path, limits=limits, environment=SLOW) as group:
        agent = running(group).slots[1].pid
        began = time.monotonic()
        freeze(agent)
        cause = group.end().cause
        assert 1.8 < time.monotonic() - began < AT_ONCE_S
        group.assert_nothing_left(0.0)
        assert group.slots[1].wait(PATIENCE_S)["outcome"] == "died", "stopped as it was, it cannot end by itself"
    assert cause is not None and (cause.kind, cause.role, cause.rank) == ("agent", "agent", 1)
    assert "silent for" in cause.message and "failure.lease_s = 3 s" in cause.message


def test_an_orphaned_slot_ends_what_its_roles_started(tmp_path: Path) -> None:
    limits = Limits(start_s=120, hang_s=120, lease_s=3.0, shutdown_s=60)
    with AgentGroup(
        tmp_path, limits=limits, faults={("worker", 1): {"at": "middle", "do": "spawn"}}, environment=SLOW
    ) as group:
        running(group)
        worker = psutil.Process(group.pid("worker", 1))
        deadline = time.monotonic() + PATIENCE_S
        while len(family := worker.children(recursive=True)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(family) == 2, "a child, and its child in another session"
        freeze(group.driver.pid)
        assert group.slots[1].wait(PATIENCE_S)["outcome"] == "orphaned"
        assert not any(is_alive(child.pid) for child in family)
        os.kill(group.driver.pid, signal.SIGCONT)
        group.end()


def test_leases_hold_through_a_quiet_time(tmp_path: Path) -> None:
    limits = Limits(start_s=120, hang_s=120, lease_s=3.0, shutdown_s=60)
    faults = {("worker", rank): {"at": "formed", "do": "hang"} for rank in (0, 1)}
    with AgentGroup(tmp_path, limits=limits, faults=faults) as group:
        group.start()
        group.until_all(events.Formed, 4)
        quiet_until = time.monotonic() + 2.5 * limits.lease_s
        while time.monotonic() < quiet_until:
            assert group.channel.receive(PATIENCE_S) == {"beat": 1}
        group.stop()
        cause = group.end().cause
    assert cause is not None and cause.kind == "interrupted"


@pytest.mark.parametrize("is_gone", [False, True])
def test_an_agent_whose_driver_never_answers_gives_up(tmp_path: Path, is_gone: bool) -> None:
    """Nor does it crash where the driver has taken its folder along, as after a Ctrl-C while workers start."""
    limits = Limits(start_s=0.5, hang_s=120, lease_s=3.0, shutdown_s=60)
    with AgentGroup(tmp_path, limits=limits) as group:
        spec = group.slot_spec(0, log_dir=str(tmp_path / ("gone/logs" if is_gone else "logs")))
    with launch.slot_agent(spec, sys.executable) as agent:
        outcome = agent.wait(PATIENCE_S)
    assert (
        outcome["outcome"] == "orphaned" and "could not be reached within failure.start_s = 0.5 s" in outcome["message"]
    )


def test_logs_lie_where_yarn_collects_them_else_in_a_folder_that_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    container = tmp_path / "container"
    container.mkdir()
    for kind in ("container", "temporary", "temporary, agent killed"):
        with AgentGroup(tmp_path / "driver", 1, 1, environment=SLOW) as group:
            if kind == "container":
                monkeypatch.setenv("LOG_DIRS", f"{container},/nonexistent")
            group.begin()
            group.slots.append(launch.slot_agent(group.slot_spec(0, log_dir=None), sys.executable))
            monkeypatch.delenv("LOG_DIRS", raising=False)
            group.until_all(events.Started, 1)
            inside = {path.name for path in tmp_path.glob("mxspark-*/*")}
            assert inside == (set() if kind == "container" else {"agent-0.log", "server-0.log", "worker-0.log"})
            if kind.endswith("killed"):
                os.kill(group.slots[0].pid, signal.SIGKILL)
            else:
                group.stop()
            group.end()
        assert not list(tmp_path.glob("mxspark-*"))
        named = {f"mxspark-{group.run_id}-{name}.log" for name in ("agent-0", "server-0", "worker-0")}
        assert kind != "container" or {path.name for path in container.iterdir()} == named


def test_an_agent_starts_soon_and_loads_little(tmp_path: Path) -> None:
    with AgentGroup(tmp_path) as group:
        seconds = []
        for _ in range(5):
            handle, channel = launch.driver_agent(group.spec, sys.executable)
            assert channel.receive(PATIENCE_S) is not None
            seconds.append(sum(psutil.Process(handle.pid).cpu_times()[:2]))  # whatever else the machine has to do
            handle.stop()
    print(f"an agent listens after {min(seconds):.2f} s of processor time")
    assert min(seconds) < 0.5
    code = "import sys, mxspark.agent.__main__; print({'numpy', 'pyspark', 'mxnet', 'pydantic'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_an_agent_that_cannot_even_begin_says_why(tmp_path: Path) -> None:
    with AgentGroup(tmp_path) as group:
        handle, channel = launch.driver_agent(dataclasses.replace(group.spec, bind="0.0.0.0"), sys.executable)
        with handle:
            frame = channel.receive(PATIENCE_S)
    assert frame is not None and frame["event"] == "Ended"
    assert "must be bound to one address, not to '0.0.0.0'" in frame["cause"]["message"]
