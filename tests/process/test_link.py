"""What a link carries: all of it, in order, no more than fits at a time; and who is told when it cannot."""

from __future__ import annotations

import contextlib
import hashlib
import random
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from agent_group import AT_ONCE_S
from links import (
    PATIENCE_S,
    LinkProcess,
    Role,
    carried,
    connect,
    descriptors,
    identity,
    joined,
    pair,
    reach,
    read,
    wait_for,
)
from namespaces import cable

from mxspark.link import movers
from mxspark.link.bridge import Bridge
from mxspark.link.certificates import Contexts
from mxspark.link.greeting import Answer, Greeting, Hello, Phase
from mxspark.link.tls import Tls
from mxspark.protocol import link
from mxspark.system.loop import Loop

OURS = identity()
SIZE = 40 * 2**20
SILENCE_S = 3.0
WAYS = ("copied", "spliced", "encrypted")


@pytest.fixture(params=[False, True], ids=["clear", "encrypted"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[LinkProcess, LinkProcess]]:
    """Two links of a run, in the clear and encrypted."""
    with pair(tmp_path, OURS, encrypt=request.param) as links:
        yield links


def send(sock: socket.socket, seed: int) -> str:
    """Send so many random bytes in pieces of all sizes, end it, and return their hash."""
    dice = random.Random(seed)
    total = hashlib.sha256()
    left = SIZE
    while left:
        data = dice.randbytes(min(left, dice.choice([1, 100, 70000, 2**20])))
        total.update(data)
        sock.sendall(data)
        left -= len(data)
    sock.shutdown(socket.SHUT_WR)
    return total.hexdigest()


def receive(sock: socket.socket) -> str:
    """Read to the end, and return the hash."""
    total = hashlib.sha256()
    while data := sock.recv(65536):
        total.update(data)
    return total.hexdigest()


def exchange(near: socket.socket, far: socket.socket) -> None:
    """Both ends send and read at once, and everything arrives."""
    sent: dict[str, str] = {}
    calls = {
        "near sent": lambda: send(near, 1),
        "far sent": lambda: send(far, 2),
        "near got": lambda: receive(near),
        "far got": lambda: receive(far),
    }

    def do(name: str) -> None:
        sent[name] = calls[name]()

    threads = [threading.Thread(target=do, args=(name,)) for name in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sent["far got"] == sent["near sent"] and sent["near got"] == sent["far sent"]


def assert_unbroken(links: Sequence[LinkProcess]) -> None:
    """End the attempt, and see that none of them has had anything to complain of."""
    for each in links:
        each.say(link.Disconnect(1))
        each.hear(link.Disconnected)
        assert not [message for message in each.heard if isinstance(message, link.Broken)]


def test_both_ways_at_once_every_byte_arrives_in_order(two: tuple[LinkProcess, LinkProcess]) -> None:
    with joined(*two) as ends:
        exchange(*ends)
    for each in two:
        each.say(link.Disconnect(1))
        assert each.hear(link.Disconnected) == link.Disconnected(1, SIZE, SIZE)


def test_one_half_may_end_long_before_the_other(two: tuple[LinkProcess, LinkProcess]) -> None:
    with joined(*two) as (near, far):
        near.sendall(b"question")
        near.shutdown(socket.SHUT_WR)
        assert receive(far) == hashlib.sha256(b"question").hexdigest()
        for part in range(50):
            far.sendall(b"%03d" % part)
        far.shutdown(socket.SHUT_WR)
        assert receive(near) == hashlib.sha256(b"".join(b"%03d" % part for part in range(50))).hexdigest()


def filled(sock: socket.socket) -> int:
    """Send until nothing more goes for a while, and return how much went."""
    sock.setblocking(False)
    sent = 0
    while select.select([], [sock], [], 1.0)[1]:
        with contextlib.suppress(BlockingIOError):
            sent += sock.send(bytes(65536))
    sock.settimeout(PATIENCE_S)
    return sent


def test_who_does_not_read_makes_the_other_wait_and_costs_no_memory(two: tuple[LinkProcess, LinkProcess]) -> None:
    before = [psutil.Process(each.popen.pid).memory_info().rss for each in two]
    with Role(two[1].folder) as role, reach(two[0].folder) as near, role.accept() as far, reach(two[0].folder) as other:
        sent = filled(near)
        assert sent < 64 * 2**20
        after = [psutil.Process(each.popen.pid).memory_info().rss for each in two]
        assert all(now - then < 8 * 2**20 for now, then in zip(after, before))
        with role.accept() as its_far:
            other.sendall(b"not held up")
            assert read(its_far, 11) == b"not held up"
        assert len(read(far, sent)) == sent
        near.sendall(b"last")
        near.shutdown(socket.SHUT_WR)
        assert read(far, 5) == b"last"


@pytest.mark.parametrize("who", ["near", "far"])
@pytest.mark.parametrize("unread", [False, True])
def test_the_end_of_a_role_is_the_end_of_its_connection_and_of_no_link(
    two: tuple[LinkProcess, LinkProcess], who: str, unread: bool
) -> None:
    with joined(*two) as (near, far):
        gone, left = (near, far) if who == "near" else (far, near)
        if unread:  # the kernel then resets it, as that of a role that was killed
            left.sendall(bytes(100000))
            assert select.select([gone], [], [], PATIENCE_S)[0]
        gone.sendall(b"last words")
        gone.close()
        assert receive(left) == hashlib.sha256(b"last words").hexdigest()
    assert carried(*two, b"still there") == b"still there"
    assert_unbroken(two)


def test_a_role_that_is_gone_frees_the_other_that_sends_to_it_without_end(
    two: tuple[LinkProcess, LinkProcess],
) -> None:
    with joined(*two) as (near, far):
        filled(near)
        far.sendall(b"last words")
        far.close()
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 2**28:  # more than anything on the way could hold
                near.sendall(bytes(65536))
                sent += 65536
        assert read(near, 10) == b"last words"
    assert carried(*two, b"still there") == b"still there"
    assert_unbroken(two)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_link_that_is_killed_ends_both_roles_and_is_named_by_the_other(
    two: tuple[LinkProcess, LinkProcess], killed: int
) -> None:
    with joined(*two) as (near, far):
        near.sendall(b"some")
        assert read(far, 4) == b"some"
        two[killed].popen.kill()
        broken = two[1 - killed].hear(link.Broken)
        assert (broken.attempt, broken.host) == (1, killed)
        assert broken.address == "{} port {}".format(*two[killed].address)
        assert broken.why.startswith(("its link is gone", "the connection"))
        for role in (near, far):
            assert role.recv(1) == b"", "both have ended"
    two[killed].popen.wait(PATIENCE_S)


def test_what_a_killed_link_carried_is_reset_and_does_not_seem_to_end(tmp_path: Path) -> None:
    """A member of the run that has but one connection, and no other word of the link."""
    with pair(tmp_path, OURS) as two, Role(two[1].folder) as role:
        tls = member(two[1])
        assert tls.recv(1) == bytes([Answer.WELCOME])
        with tls.unwrap() as plain, role.accept() as far:
            plain.sendall(b"hello")
            assert read(far, 5) == b"hello"
            two[1].popen.kill()
            with pytest.raises(ConnectionResetError):
                plain.recv(1)


def test_a_cable_that_is_cut_is_noticed_in_time_and_the_host_is_named(tmp_path: Path) -> None:
    with cable(tmp_path) as laid:
        ends = {"python": laid.python("driver"), "other": laid.python("slots")}
        addresses = {"address": laid.ADDRESSES["driver"], "other_address": laid.ADDRESSES["slots"]}
        with pair(tmp_path, OURS, **ends, **addresses, silence_s=SILENCE_S) as two:
            assert carried(*two, b"hello") == b"hello"
            laid.cut("driver", "slots")
            for here, there in ((0, 1), (1, 0)):
                broken = two[here].hear(link.Broken, SILENCE_S + AT_ONCE_S)
                assert broken.host == there and broken.address.startswith(two[there].address[0])
                assert broken.why == "the connection to its link broke: [Errno 110] Connection timed out"


def test_a_host_that_cannot_be_reached_is_named_before_any_role_needs_it(tmp_path: Path) -> None:
    with LinkProcess(tmp_path / "a") as one, LinkProcess(tmp_path / "b") as two, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for each in (one, two):
            each.open(OURS)
        connect((one, two), at=(one.address, nobody.getsockname()), start_s=1.0)
        broken = one.hear(link.Broken)
        assert broken.host == 1
        assert broken.why.startswith("could not be connected to: Connection refused (within 1 s, ")
        assert "open the port between the hosts" in broken.why


def test_a_link_of_another_run_in_the_place_of_ours_hears_nothing(tmp_path: Path) -> None:
    with LinkProcess(tmp_path / "a") as one, LinkProcess(tmp_path / "b") as two:
        one.open(OURS)
        two.open(identity())
        connect((one, two))
        assert "has a certificate that is not of this run" in one.hear(link.Broken).why
        assert "refuses us" in two.hear(link.StrangersRefused).why


def test_a_role_that_never_binds_its_socket_is_said(tmp_path: Path) -> None:
    with pair(tmp_path, OURS, start_s=1.0) as two, reach(two[0].folder) as near:
        assert two[0].hear(link.Broken).why == "has a role that did not bind its socket in time"
        assert near.recv(1) == b""


def member(to: LinkProcess) -> ssl.SSLSocket:
    """Return a connection of the run that has asked for socket 77."""
    raw = socket.create_connection(to.address, timeout=PATIENCE_S)
    tls = Contexts.of(OURS).client.wrap_socket(raw)
    tls.sendall(Hello(1, 0, 1, 77, False).pack())
    return tls


def test_one_that_asked_and_left_is_not_carried_later(tmp_path: Path) -> None:
    with pair(tmp_path, OURS, start_s=100 * PATIENCE_S) as links:
        before = descriptors(links[1].popen.pid)
        with member(links[1]):
            wait_for(lambda: descriptors(links[1].popen.pid) > before)
        wait_for(lambda: descriptors(links[1].popen.pid) == before)
        assert carried(*links, b"hello") == b"hello", "and the role has seen nothing of it"
        assert_unbroken(links)


def test_a_role_may_bind_its_socket_later(tmp_path: Path) -> None:
    with pair(tmp_path, OURS) as two, reach(two[0].folder) as near:
        near.sendall(b"early")
        time.sleep(0.2)  # the other link has been asked by now, and if not the test is only easier
        with Role(two[1].folder) as role, role.accept() as far:
            assert read(far, 5) == b"early"


def test_a_clear_one_and_one_that_must_encrypt_do_not_meet(tmp_path: Path) -> None:
    with LinkProcess(tmp_path / "a") as one, LinkProcess(tmp_path / "b") as two:
        for each in (one, two):
            each.open(OURS)
        connect((one, two), encrypt=True)
        for each in (one, two):
            each.hear(link.Connected)
        hosts = (one.address, two.address)
        one.say(link.Connect(1, 0, hosts, (), ((77, 1),), str(one.folder), False, PATIENCE_S, PATIENCE_S))
        one.hear(link.Connected)
        with reach(one.folder):
            assert "wants all of it encrypted (transport.encrypt)" in one.hear(link.Broken).why


def test_attempts_follow_each_other_and_an_old_one_is_refused(tmp_path: Path) -> None:
    with pair(tmp_path, OURS) as two, joined(*two) as (near, far):
        hosts = tuple(each.address for each in two)
        connect(two, attempt=2)
        assert receive(near) == receive(far) == hashlib.sha256().hexdigest(), "what was of the first is gone"
        for each in two:
            assert each.hear(link.Connected).attempt == 2
        far.close()
    # a host that has not heard of the third yet is waited for, and one that is still at the second is refused
    with pair(tmp_path, OURS, attempt=2) as two:
        hosts = tuple(each.address for each in two)
        two[0].say(link.Connect(3, 0, hosts, (), ((77, 1),), str(two[0].folder), False, PATIENCE_S, PATIENCE_S))
        time.sleep(0.2)
        two[1].say(link.Connect(3, 1, hosts, (77,), (), str(two[1].folder), False, PATIENCE_S, PATIENCE_S))
        for each in two:
            assert each.hear(link.Connected).attempt == 3
        assert carried(*two, b"third") == b"third"
        two[0].say(link.Connect(2, 0, hosts, (), ((77, 1),), str(two[0].folder), False, PATIENCE_S, PATIENCE_S))
        assert two[0].hear(link.Broken).why == "is at another attempt"


def test_three_hosts_reach_each_other(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(LinkProcess(tmp_path / name)) for name in "abc"]
        for each in links:
            each.open(OURS)
        connect(links)
        for each in links:
            each.hear(link.Connected)
        for one, two, endpoint in ((0, 1, 77), (0, 2, 78), (1, 2, 78), (2, 1, 77)):
            with joined(links[one], links[two], endpoint) as (near, far):
                near.sendall(b"hello")
                assert read(far, 5) == b"hello"
        links[2].popen.kill()
        assert [links[place].hear(link.Broken).host for place in (0, 1)] == [2, 2]


def test_ipv6(tmp_path: Path) -> None:
    with pair(tmp_path, OURS, address="::1") as two:
        assert two[0].address[0] == "::1"
        assert carried(*two, b"six") == b"six"


class Tap(threading.Thread):
    """Lies between two links, passes on what they say, and keeps it."""

    def __init__(self, to: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self._to = to
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._server.getsockname()
        self.kept = bytearray()
        self.start()

    def run(self) -> None:
        """Accept until closed."""
        with contextlib.suppress(OSError):
            while True:
                one = self._server.accept()[0]
                other = socket.create_connection(self._to)
                for source, sink in ((one, other), (other, one)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.kept += data
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Accept nobody any more."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.mark.parametrize("encrypt", [False, True])
def test_a_capture_shows_what_is_carried_only_where_that_is_wanted(tmp_path: Path, encrypt: bool) -> None:
    row = b"a row that nobody else may read. " * 10
    with LinkProcess(tmp_path / "a") as one, LinkProcess(tmp_path / "b") as two:
        for each in (one, two):
            each.open(OURS)
        with contextlib.closing(Tap(two.address)) as tap:
            connect((one, two), at=(one.address, tap.address), encrypt=encrypt)
            for each in (one, two):
                each.hear(link.Connected)
            assert carried(one, two, row) == row
            assert (tap.kept.count(row) == 2) is not encrypt
            assert b"PRIVATE KEY" not in tap.kept and b"CERTIFICATE" not in tap.kept


def test_nothing_is_left_when_the_agent_is_gone(tmp_path: Path) -> None:
    with pair(tmp_path, OURS) as two:
        assert (two[0].folder / "77").is_socket()
        before = descriptors(two[0].popen.pid)
        for _ in range(20):
            assert carried(*two, b"again") == b"again"
        wait_for(lambda: descriptors(two[0].popen.pid) == before)
        two[0].channel.close()
        assert two[0].popen.wait(PATIENCE_S) == 0
        assert not (two[0].folder / "77").exists()


def test_a_socket_that_cannot_be_bound_is_named(tmp_path: Path) -> None:
    with LinkProcess(tmp_path / "a") as one, LinkProcess(tmp_path / "b") as two, Role(one.folder):
        for each in (one, two):
            each.open(OURS)
        connect((one, two))
        why = one.hear(link.Broken).why
        assert why.startswith(f"a socket in {one.folder} could not be bound: ") and "end what has it" in why


def secured() -> tuple[Tls, Tls]:
    """Return both ends of TLS that is through."""
    contexts = Contexts.of(OURS)
    one = Greeting(contexts.client, Hello(1, 0, 1, 77, True))
    other = Greeting(contexts.server)
    while other.phase is not Phase.ASKED:
        other.feed(memoryview(one.tls.take_outgoing()))
        one.feed(memoryview(other.tls.take_outgoing()))
    other.answer(Answer.WELCOME)
    one.feed(memoryview(other.tls.take_outgoing()))
    return one.tls, other.tls


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = socket.create_connection(server.getsockname(), timeout=PATIENCE_S)
        return there, server.accept()[0]


def test_what_was_encrypted_with_the_greeting_comes_before_the_end_of_a_role() -> None:
    """TLS says no goodbye while something lies there unread."""
    ours, theirs = secured()
    theirs.write(memoryview(b"early"))
    ours.feed(memoryview(theirs.take_outgoing()))
    near, near_end = socket.socketpair()
    near.shutdown(socket.SHUT_WR)
    far, far_end = tcp_pair()
    loop = Loop()
    Bridge(loop, near_end, far_end, movers.both(near_end, far_end, ours), lambda *_: loop.stop())
    loop.after(0.1, lambda: far.sendall(theirs_goodbye(theirs)))
    loop.after(PATIENCE_S, loop.stop)
    loop.run()
    with near, far:
        assert read(near, 6) == b"early"
        theirs.feed(memoryview(read(far, 1000)))
        assert theirs.read(memoryview(bytearray(10))) == 0, "it was told the end"


def theirs_goodbye(tls: Tls) -> bytes:
    """Return the bytes that say that nothing more comes."""
    tls.say_goodbye()
    return tls.take_outgoing()


def test_an_encrypted_connection_that_ends_without_a_goodbye_was_lost() -> None:
    ours, _ = secured()
    near, near_end = socket.socketpair()
    far, far_end = tcp_pair()
    loop = Loop()
    ended: list[Any] = []

    def end(_: Bridge, why: Any) -> None:
        ended.append(why)
        loop.stop()

    Bridge(loop, near_end, far_end, movers.both(near_end, far_end, ours), end)
    far.close()
    loop.after(PATIENCE_S, loop.stop)
    loop.run()
    near.close()
    assert ended == ["the connection broke: it ended without a goodbye"]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_moving_bytes_moves_them(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copying is what Python 3.9 has, and a kernel that does not splice."""
    if way == "spliced" and not movers.CAN_SPLICE:
        pytest.skip("os.splice is there from Python 3.10 on")
    monkeypatch.setattr(movers, "CAN_SPLICE", way == "spliced")
    near, near_end = socket.socketpair()
    far, far_end = socket.socketpair()
    there, here = tcp_pair()
    ends = secured() if way == "encrypted" else (None, None)
    first = b"" if way == "encrypted" else b"first"
    loop = Loop()
    bridges = set()
    ended: list[Any] = []

    def end(bridge: Bridge, why: Any) -> None:
        bridges.discard(bridge)
        ended.append(why)
        if not bridges:
            loop.stop()

    bridges.add(Bridge(loop, near_end, there, movers.both(near_end, there, ends[0], first), end))
    bridges.add(Bridge(loop, far_end, here, movers.both(far_end, here, ends[1]), end))
    kinds = {type(each).__name__ for bridge in bridges for each in (bridge._out, bridge._back)}
    assert kinds == {"copied": {"Copied"}, "spliced": {"Spliced"}, "encrypted": {"Sealed", "Opened"}}[way]
    loop.after(PATIENCE_S, loop.stop)
    turning = threading.Thread(target=loop.run)
    turning.start()
    for sock in (near, far):
        sock.settimeout(PATIENCE_S)
    assert read(near, len(first)) == first
    exchange(near, far)
    turning.join(PATIENCE_S)
    assert ended == [None, None]
    near.close()
    far.close()
