"""Places, ranks, endpoints and environments, for every shape of a group."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxspark.protocol.specs import GroupSpec, RoleSpec
from mxspark.topology import identity, placement


def plan(
    identities: Sequence[str] = ("here", "here"), draw: Any = None, free_ports: Any = None, **changes: Any
) -> placement.Group:
    """Plan a group with plain settings, by default on one host, where every worker is one of ps-lite's."""
    wanted = GroupSpec(servers=2, servers_on_driver=0, sums_in_host=False, mode="local", threads=3, server_threads=2)
    return placement.plan_roles(
        replace(wanted, **changes),
        identities,
        host_address="10.0.0.5",
        run_tag="run-1",
        draw=draw or random.Random(7).randint,
        free_ports=free_ports,
    )


def ps_lite_order(roles: list[RoleSpec]) -> list[RoleSpec]:
    """Sort as ps-lite does (van.cc): host descending, then port ascending."""
    by_port = sorted(roles, key=lambda role: int(role.environment["PORT"]))
    return sorted(by_port, key=lambda role: role.environment["DMLC_NODE_HOST"], reverse=True)


@given(
    st.integers(1, 40).flatmap(
        lambda workers: st.integers(1, 40).flatmap(
            lambda servers: st.tuples(st.just(workers), st.just(servers), st.integers(0, servers))
        )
    ),
    st.sampled_from(["local", "tcp"]),
    st.integers(0, 2**32),
)
def test_ranks_places_and_endpoints(shape: tuple[int, int, int], mode: str, seed: int) -> None:
    workers, servers, on_driver = shape
    rng = random.Random(seed)
    group = plan(
        ["here"] * workers,
        servers=servers,
        servers_on_driver=on_driver,
        mode=mode,
        draw=rng.randint,
        free_ports=lambda _host, count: rng.sample(range(1024, 65536), count),
    )
    assert [(role.role, role.rank) for role in group.driver] == [
        ("scheduler", 0),
        *(("server", rank) for rank in range(on_driver)),
    ]
    assert [slot[0].rank for slot in group.slots] == list(range(workers)) and all(
        [role.role for role in slot] == ["worker"] + ["server"] * (len(slot) - 1) for slot in group.slots
    )
    sizes = [len(slot) for slot in group.slots]
    assert max(sizes) - min(sizes) <= 1, "servers go round the slots"
    roles = [*group.driver, *(role for slot in group.slots for role in slot)]
    for kind, count in (("server", servers), ("worker", workers)):
        own = ps_lite_order([role for role in roles if role.role == kind])
        assert [role.rank for role in own] == list(range(count)), f"ps-lite must give {kind} ranks as planned"
    endpoints = [(role.environment["DMLC_NODE_HOST"], role.environment["PORT"]) for role in roles]
    assert len(set(endpoints)) == len({role.environment["PORT"] for role in roles}) == len(roles)
    for role in roles:
        check_environment(role, workers, servers, mode, group.driver[0])


def check_environment(role: RoleSpec, workers: int, servers: int, mode: str, scheduler: RoleSpec) -> None:
    """Everything ps-lite and glibc want to know is there, and endpoints are what ps-lite can use."""
    environment, port = role.environment, int(role.environment["PORT"])
    assert environment["DMLC_ROLE"] == role.role
    assert (environment["DMLC_NUM_WORKER"], environment["DMLC_NUM_SERVER"]) == (str(workers), str(servers))
    assert environment["DMLC_PS_ROOT_PORT"] == scheduler.environment["PORT"]
    assert environment["MXSPARK_RUN"] == "run-1" and placement.MALLOC.items() <= environment.items()
    assert environment["OMP_NUM_THREADS"] == {"scheduler": "1", "server": "2", "worker": "3"}[role.role]
    if mode == "local":
        assert environment["DMLC_LOCAL"] == "1" and role.socket == f"/tmp/{port}" and 65535 < port < 2**31 - 1
    else:
        assert "DMLC_LOCAL" not in environment and role.socket is None
        assert environment["DMLC_NODE_HOST"] == environment["DMLC_PS_ROOT_URI"] == "10.0.0.5"


def test_names_that_exist_are_avoided(tmp_path: Path) -> None:
    (tmp_path / "70000").touch()
    os.symlink("nowhere", tmp_path / "70001")
    draws = iter([70000, 70001, 70002, 70002, 70003])
    assert placement.draw_sockets(2, lambda _low, _high: next(draws), tmp_path) == [70002, 70003]
    with pytest.raises(ValueError, match="no 1 free names"):
        placement.draw_sockets(1, lambda _low, _high: 70000, tmp_path)


def test_two_plans_share_no_endpoint() -> None:
    one, two = (plan(draw=random.SystemRandom().randint) for _ in range(2))
    ports = [{role.environment["PORT"] for slot in group.slots for role in slot} for group in (one, two)]
    assert not ports[0] & ports[1]


def test_variables_of_the_job() -> None:
    group = plan(environment={"MXNET_ENGINE_TYPE": "NaiveEngine", "MALLOC_ARENA_MAX": "4"})
    assert all(role.environment["MXNET_ENGINE_TYPE"] == "NaiveEngine" for role in group.driver)
    assert group.slots[0][0].environment["MALLOC_ARENA_MAX"] == "4"
    with pytest.raises(ValueError, match="cannot be named by a job: DMLC_ROLE, PORT"):
        plan(environment={"PORT": "1", "DMLC_ROLE": "worker", "OK": "1"})


@pytest.mark.parametrize(
    "changes",
    [
        {"identities": []},
        {"servers": 0},
        {"servers": 0, "sums_in_host": True, "identities": ["here", "there"]},
        {"servers_on_driver": 3},
        {"servers_on_driver": -1},
    ],
)
def test_counts_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need one server at least, and no more of them on the driver"):
        plan(**changes)
    with pytest.raises(ValueError, match=r"transport\.mode"):
        plan(mode="udp")


def test_workers_of_one_host_meet_and_their_first_speaks_for_them() -> None:
    """Whichever ranks a host has: ps-lite knows the leaders alone, in order of the hosts."""
    group = plan(["a", "b", "a", "c", "b"], servers=None, sums_in_host=True)
    assert group.hosts == ((0, 2), (1, 4), (3,))
    workers = [slot[0] for slot in group.slots]
    assert [worker.rank for worker in workers] == [0, 1, 2, 3, 4]
    meetings = [worker.meeting for worker in workers]
    assert all(meeting is not None and meeting.hosts == group.hosts for meeting in meetings)
    assert [meeting.members for meeting in meetings if meeting] == [(0, 2), (1, 4), (0, 2), (3,), (1, 4)]
    assert len({meeting.socket for meeting in meetings if meeting}) == 3
    leaders = ps_lite_order([worker for worker in workers if "DMLC_ROLE" in worker.environment])
    assert [worker.rank for worker in leaders] == [0, 1, 3]
    assert {role.environment["DMLC_NUM_WORKER"] for role in group.driver} == {"3"}
    assert {role.environment["DMLC_NUM_SERVER"] for role in group.driver} == {"3"}, "one a host"
    assert group.slot_of()["scheduler", 0] is None and group.slot_of()["server", 2] == 2
    assert len(group.sockets()) == 1 + 3 + 3 + 3


def test_on_one_host_no_servers_are_needed_but_those_that_are_wanted() -> None:
    assert [role.role for role in plan(servers=None, sums_in_host=True).driver] == ["scheduler"]
    two = plan(servers=None, servers_on_driver=2, sums_in_host=True)
    assert [role.role for role in two.driver] == ["scheduler", "server", "server"]
    alone = plan(servers=0, sums_in_host=True)
    assert not alone.driver and [len(slot) for slot in alone.slots] == [1, 1]


def test_identity_says_why_it_differs() -> None:
    ours = identity.host_identity()
    assert ours == identity.host_identity() and len(ours.split("/")) == 3
    boot, folder, uid = ours.split("/")
    assert identity.explain_difference(ours, f"other/{folder}/{uid}") == "they are different hosts"
    assert "different /tmp folders" in identity.explain_difference(ours, f"{boot}/1:1/{uid}")
    assert f"(uid {uid} and 4711)" in identity.explain_difference(ours, f"{boot}/{folder}/4711")
