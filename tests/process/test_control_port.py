"""The control port against strangers: none gets in, none is parsed, and the group does not notice."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from agent_group import AgentGroup

from mxspark.agent import server
from mxspark.protocol import events
from mxspark.protocol import frames as wire
from mxspark.system.loop import Loop

SECRET, OTHER = bytes(range(32)), bytes(32)


@contextlib.contextmanager
def connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    """Connect, with a limit on every wait."""
    with socket.create_connection(address, timeout=30) as sock:
        yield sock


def is_closed(sock: socket.socket) -> bool:
    """Whether the other end closes within the socket's time limit, whatever it says before."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


def handshake(sock: socket.socket, secret: bytes) -> wire.Secured:
    """Be a client that knows `secret`."""
    codec = wire.Secured(secret, server=False)
    while not codec.is_ready:
        sock.sendall(codec.take_outgoing())
        data = sock.recv(65536)
        assert data
        codec.feed(data)
    sock.sendall(codec.take_outgoing())
    return codec


@pytest.fixture
def group(tmp_path: Path) -> Iterator[AgentGroup]:
    """A group that trains, and must not fail."""
    with AgentGroup(tmp_path, environment={"FAKE_STEPS": "60"}) as group:
        group.start()
        group.until_all(events.Started, 2)
        yield group
        assert group.end().cause is None, "the group was disturbed"


def refused(group: AgentGroup, words: str) -> bool:
    """Whether the driver's agent says so in its log, now or in a moment."""
    deadline = time.monotonic() + 30
    while words not in (group.folder / "logs" / "agent-driver.log").read_text():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_wrong_key_is_refused_and_learns_nothing(group: AgentGroup) -> None:
    with connected(group.address) as sock:
        codec = wire.Secured(OTHER, server=False)
        sock.sendall(codec.take_outgoing())
        with pytest.raises(wire.WireError, match="does not know the secret"):
            codec.feed(sock.recv(65536))  # it notices that the server is not of its job
        sock.sendall(bytes(32))
        assert is_closed(sock)
    assert refused(group, "the peer does not know the secret of this job")


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b" " * 40, b"\x80\x04." * 100, os.urandom(4096)]
)
def test_another_protocol_is_refused(group: AgentGroup, data: bytes) -> None:
    with connected(group.address) as sock:
        sock.sendall(data)
        assert is_closed(sock)
    assert refused(group, "does not speak this protocol")


@pytest.mark.parametrize(
    "spoil", ["replayed", "flipped", "reflected", "oversized", "not JSON", "nonsense", "no such slot"]
)
def test_frames_that_were_tampered_with_end_the_connection(group: AgentGroup, spoil: str) -> None:
    with connected(group.address) as sock:
        codec = handshake(sock, bytes.fromhex(group.secret))
        frame = codec.pack({"beat": 1})
        sock.sendall(frame)  # a good one is taken
        time.sleep(0.05)
        if spoil == "replayed":
            sock.sendall(frame)
        elif spoil == "flipped":
            bad = bytearray(codec.pack({"beat": 1}))
            bad[-1] ^= 1
            sock.sendall(bad)
        elif spoil == "reflected":
            mirror = wire.Secured(bytes.fromhex(group.secret), server=True)
            mirror.__dict__.update(_key=codec.__dict__["_key"], is_ready=True, _sent=1)
            sock.sendall(mirror.pack({"beat": 1}))
        elif spoil == "oversized":
            sock.sendall((wire.MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
        elif spoil == "not JSON":
            body = b"\x80\x04."
            sock.sendall(len(body).to_bytes(4, "big") + codec._mac(False, 1, body) + body)
        elif spoil == "nonsense":
            sock.sendall(codec.pack({"from": {"role": "worker", "rank": 0}, "event": "Beat"}))
        else:
            joined = events.to_wire(events.Joined(1, "here", "me", 1))
            sock.sendall(codec.pack({"from": {"role": "agent", "rank": 1}, **joined}))
        assert is_closed(sock)
    assert refused(group, "refused")


def test_an_agent_cannot_speak_for_the_roles_of_another(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment={"FAKE_STEPS": "100000"}) as group, contextlib.ExitStack() as stack:
        group.start(ranks=[0])
        sock = stack.enter_context(connected(group.address))
        codec = handshake(sock, bytes.fromhex(group.secret))
        joined = events.Joined(1, "here", group.spec.identity, 1)
        sock.sendall(codec.pack({"from": {"role": "agent", "rank": 1}, **events.to_wire(joined)}))
        group.until(group.saw(events.Joined, "agent", 1))
        done = events.to_wire(events.Done(1, "same", {}))
        sock.sendall(codec.pack({"from": {"role": "worker", "rank": 0}, **done}))
        cause = group.end().cause
    assert cause is not None and (cause.kind, cause.rank) == ("agent", 1)
    assert "('worker', 0) is not of slot 1" in cause.message


def test_a_truncated_frame_does_no_harm(group: AgentGroup) -> None:
    with connected(group.address) as sock:
        codec = handshake(sock, bytes.fromhex(group.secret))
        sock.sendall(codec.pack({"beat": 1})[:-1])


def test_frames_of_one_connection_are_worthless_on_another(group: AgentGroup) -> None:
    with connected(group.address) as one, connected(group.address) as two:
        first = handshake(one, bytes.fromhex(group.secret))
        handshake(two, bytes.fromhex(group.secret))
        two.sendall(first.pack({"beat": 1}))
        assert is_closed(two)


def test_many_connections_are_bounded_and_an_agent_still_gets_in(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment={"FAKE_STEPS": "20"}) as group, contextlib.ExitStack() as stack:
        flood = [stack.enter_context(connected(group.address)) for _ in range(3 * server.MAX_STRANGERS)]
        for sock in flood[:20]:
            with contextlib.suppress(ConnectionError):
                sock.sendall(wire.MAGIC)  # and never goes on
        time.sleep(0.3)
        held = psutil.Process(group.driver.pid).net_connections("tcp")
        assert len([c for c in held if c.status == psutil.CONN_ESTABLISHED]) <= server.MAX_STRANGERS
        assert group.start().end().cause is None


def test_a_slow_stranger_is_dropped(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_S", 0.3)
    loop = Loop()
    frames: list[wire.Message] = []
    control = server.ControlServer(loop, "127.0.0.1", SECRET, lambda _p, f: frames.append(f), lambda _p, _r: None)
    with connected(control.address) as sock:
        for index in range(4):  # a byte now and then buys no time
            loop.after(0.1 * index, lambda: sock.sendall(b"m"))
        loop.after(0.6, loop.stop)
        loop.run()
        assert is_closed(sock)
    assert caplog.text.count("did not say who it is within 0.3 s") == 1 and not frames
    with connected(control.address) as sock:  # neither does a handshake without joining
        codec = wire.Secured(SECRET, server=False)
        sock.sendall(codec.take_outgoing())
        loop.__dict__["_running"] = True
        loop.after(0.1, lambda: (codec.feed(sock.recv(65536)), sock.sendall(codec.take_outgoing())))
        loop.after(0.6, loop.stop)
        loop.run()
        assert is_closed(sock)
    control.close()
    assert caplog.text.count("did not say who it is within 0.3 s") == 2


def test_an_address_for_everybody_is_refused() -> None:
    for bind in ("", "0.0.0.0", "::"):
        with pytest.raises(ValueError, match="must be bound to one address"):
            server.ControlServer(Loop(), bind, SECRET, lambda _p, _f: None, lambda _p, _r: None)
