"""MXNet's scheduler, servers and workers on two hosts that share no /tmp and no network, but for one port each."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from links import LinkProcess, identity
from namespaces import hosts
from role_harness import Group

from mxspark.protocol import link

ENDS = ("driver", "slots")
PATIENCE_S = 300.0
LISTEN = "0A"  # in /proc/net/tcp


def host_of(role, size):
    """Return where a role is: a worker as its group pretends, a server on the host of its rank."""
    return role.rank * 2 // size if role.role == "worker" else role.rank % 2


@pytest.mark.parametrize(
    ("in_hosts", "encrypt"), [(2, False), (2, True), (None, False)], ids=["summed", "summed, encrypted", "servers"]
)
def test_roles_of_two_hosts_meet_and_sum(tmp_path, in_hosts, encrypt):
    who, size = identity(), 3
    sockets = []
    with hosts(tmp_path) as laid:
        pythons = [laid.python(end) for end in ENDS]

        def python(role):
            host = host_of(role, size)
            if role.socket is not None:
                sockets.append((int(role.socket.rpartition("/")[2]), host))
            return pythons[host]

        with LinkProcess(tmp_path / "a", pythons[0]) as one, LinkProcess(tmp_path / "b", pythons[1]) as two:
            for each, end in zip((one, two), ENDS):
                each.open(who, laid.ADDRESSES[end])
            with Group(
                size, tmp_path, servers=2, entry="exchange_program:main", hosts=in_hosts, python=python
            ) as group:
                connect((one, two), sockets, encrypt)
                for process in (*group.workers, *group.others):
                    process.wait(PATIENCE_S)
            for each in (one, two):
                each.say(link.Disconnect(1))
                moved = each.hear(link.Disconnected)
                assert moved.bytes_sent > 4400000, "the half of a large parameter, and more"
                assert not [message for message in each.heard if isinstance(message, link.Broken)]
    codes = [process.returncode for process in (*group.workers, *group.others)]
    assert codes == [0] * 6, "all roles leave in order"
    for log in group.logs:
        said = json.loads(log.read_text().strip().splitlines()[-1])
        assert said["broadcast"] == [10.0, 1.5, 1.0, 1.0]
        assert said["gradients"] == [[7.0], [1.5], [6.0]]
        assert said["mean"] == [1.0]
        assert said["long"] is True


def connect(links, sockets, encrypt):
    """Tell both of all sockets, and wait until they have met."""
    addresses = tuple(each.address for each in links)
    for host, each in enumerate(links):
        here = tuple(endpoint for endpoint, at in sockets if at == host)
        there = tuple((endpoint, at) for endpoint, at in sockets if at != host)
        each.say(link.Connect(1, host, addresses, here, there, "/tmp", encrypt, PATIENCE_S, PATIENCE_S))
    for each in links:
        each.hear(link.Connected)


def watch_ports(links, group):
    """Return on which ports anybody of each host has listened while the roles were there."""
    found = [set() for _ in links]
    deadline = time.monotonic() + PATIENCE_S
    while any(process.poll() is None for process in group.workers) and time.monotonic() < deadline:
        for ports, each in zip(found, links):
            for table in ("tcp", "tcp6"):
                lines = Path(f"/proc/{each.popen.pid}/net/{table}").read_text().splitlines()[1:]
                ports |= {int(line.split()[1].rpartition(":")[2], 16) for line in lines if line.split()[3] == LISTEN}
        time.sleep(0.02)
    return found
