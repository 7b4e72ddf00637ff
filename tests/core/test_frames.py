"""The codecs as pure functions of bytes, and the blocking channel."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxspark.protocol import frames
from mxspark.protocol.channel import Channel
from mxspark.system.ports import free_ports

SECRET, OTHER = bytes(range(32)), bytes(32)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5)


def pair() -> tuple[frames.Secured, frames.Secured]:
    """Return two ends that have shaken hands."""
    client, server = frames.Secured(SECRET, server=False), frames.Secured(SECRET, server=True)
    server.feed(client.take_outgoing())
    client.feed(server.take_outgoing())
    server.feed(client.take_outgoing())
    assert client.is_ready and server.is_ready
    return client, server


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes in pieces."""
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in zip(at, at[1:])]


@given(MESSAGES, st.lists(st.integers(0, 10**6), max_size=10), st.booleans())
def test_frames_survive_any_division(messages: list[dict[str, Any]], cuts: list[int], secured: bool) -> None:
    sender, receiver = pair() if secured else (frames.Plain(), frames.Plain())
    data = b"".join(sender.pack(message) for message in messages)
    assert [frame for piece in pieces(data, cuts) for frame in receiver.feed(piece)] == messages


@given(st.lists(st.integers(0, 200), max_size=6))
def test_the_handshake_survives_any_division(cuts: list[int]) -> None:
    client, server = frames.Secured(SECRET, server=False), frames.Secured(SECRET, server=True)
    for source, target in ((client, server), (server, client), (client, server)):
        for piece in pieces(source.take_outgoing(), cuts):
            target.feed(piece)
    assert client.is_ready and server.is_ready and server.feed(client.pack({"a": 1})) == [{"a": 1}]


def test_a_frame_may_follow_the_handshake_at_once() -> None:
    client, server = frames.Secured(SECRET, server=False), frames.Secured(SECRET, server=True)
    server.feed(client.take_outgoing())
    client.feed(server.take_outgoing())
    assert server.feed(client.take_outgoing() + client.pack({"hello": 1})) == [{"hello": 1}]


def test_both_ends_notice_another_secret() -> None:
    client, server = frames.Secured(OTHER, server=False), frames.Secured(SECRET, server=True)
    server.feed(client.take_outgoing())
    with pytest.raises(frames.WireError, match="does not know the secret"):
        client.feed(server.take_outgoing())
    with pytest.raises(frames.WireError, match="does not know the secret"):
        server.feed(bytes(32))
    assert not client.is_ready and not server.is_ready
    with pytest.raises(RuntimeError, match="not proved"):
        client.pack({})


def test_a_handshake_cannot_be_replayed_or_reflected() -> None:
    client, server = frames.Secured(SECRET, server=False), frames.Secured(SECRET, server=True)
    hello = client.take_outgoing()
    server.feed(hello)
    client.feed(server.take_outgoing())
    proof = client.take_outgoing()
    again = frames.Secured(SECRET, server=True)
    again.feed(hello)
    with pytest.raises(frames.WireError, match="does not know the secret"):
        again.feed(proof)
    mirror = frames.Secured(SECRET, server=True)
    mirror.feed(hello)
    with pytest.raises(frames.WireError, match="does not know the secret"):
        mirror.feed(mirror.take_outgoing()[32:])


@given(st.integers(0, 10**6), st.integers(0, 7))
@settings(max_examples=50)
def test_no_bit_of_a_frame_may_change(place: int, bit: int) -> None:
    client, server = pair()
    data = bytearray(client.pack({"do": "finish"}))
    data[place % len(data)] ^= 1 << bit
    try:
        heard = server.feed(bytes(data))
    except frames.WireError:
        return
    assert heard == [], "a longer length only makes it wait"
    assert place % len(data) < 4


def test_order_direction_and_connection_count() -> None:
    client, server = pair()
    first, second = client.pack({"n": 1}), client.pack({"n": 2})
    for wrong in (second, server.pack({"n": 1}), pair()[0].pack({"n": 1})):
        _, fresh = client, frames.Secured(SECRET, server=True)
        fresh.__dict__.update(_key=server.__dict__["_key"], is_ready=True)
        with pytest.raises(frames.WireError, match="wrong MAC"):
            fresh.feed(wrong)
    assert server.feed(first) == [{"n": 1}]
    with pytest.raises(frames.WireError, match="frame 1 of the peer has a wrong MAC"):
        server.feed(first)


@pytest.mark.parametrize("codec", [frames.Plain(), pair()[1]])
def test_sizes_are_bounded_before_anything_is_kept(codec: frames.Codec) -> None:
    with pytest.raises(frames.WireError, match="16777217 bytes was announced"):
        codec.feed((frames.MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
    with pytest.raises(ValueError, match="send less at once"):
        frames.Plain().pack({"x": "y" * frames.MAX_FRAME_BYTES})


@pytest.mark.parametrize("body", [b"\x80\x04.", b"[1]", b"", b"[" * 100_000, b"\xff"])
def test_only_objects_are_frames(body: bytes) -> None:
    with pytest.raises(frames.WireError, match=r"is not JSON|not an object"):
        frames.Plain().feed(len(body).to_bytes(4, "big") + body)


@given(st.binary(max_size=200))
def test_strangers_only_ever_get_an_error(data: bytes) -> None:
    server = frames.Secured(SECRET, server=True)
    with contextlib.suppress(frames.WireError):
        assert server.feed(data) == []
    assert not server.is_ready


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        frames.Secured(b"short", server=True)


def test_the_channel() -> None:
    ours, theirs = socket.socketpair()
    one, two = Channel(ours), Channel.from_fd(theirs.detach())
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="nothing came over the channel"):
        one.receive(0.05)
    assert 0.04 < time.monotonic() - began < 30
    threads = [
        threading.Thread(target=lambda n=n: [two.send({"n": n, "x": "y" * 5000}) for _ in range(50)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    received = [one.receive(60) for _ in range(200)]
    for thread in threads:
        thread.join()
    assert sorted(frame["n"] for frame in received if frame) == sorted(list(range(4)) * 50)
    two.send({"last": True})
    two.close()
    assert one.receive(60) == {"last": True} and one.receive(60) is None
    with pytest.raises(BrokenPipeError, match="Broken pipe"):
        one.send({})
    one.close()


def test_a_channel_that_is_closed_meanwhile_ends_the_wait() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    threading.Timer(0.05, channel.close).start()
    assert channel.receive(60) is None
    theirs.close()


def test_free_ports_are_free_and_ascend() -> None:
    ports = free_ports("127.0.0.1", 5)
    assert ports == sorted(set(ports)) and len(ports) == 5
    with socket.create_server(("127.0.0.1", ports[0])):
        pass


def test_frames_of_many_threads_arrive_over_a_secured_channel() -> None:
    """They are numbered: packed outside the lock two could overtake each other, and the other end refused both."""
    ours, theirs = socket.socketpair()
    sender, receiver = (
        Channel(ours, frames.Secured(SECRET, server=False)),
        Channel(theirs, frames.Secured(SECRET, server=True)),
    )
    waiting = threading.Thread(target=receiver.shake_hands, args=(10,))
    waiting.start()
    sender.shake_hands(10)
    waiting.join()
    with contextlib.closing(sender), contextlib.closing(receiver):
        count, words = 200, "x" * 20_000
        threads = [
            threading.Thread(target=lambda: [sender.send({"n": n, "words": words}) for n in range(count)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        received = [receiver.receive(30) for _ in range(count * len(threads))]
        assert all(message is not None and message["words"] == words for message in received)
        for thread in threads:
            thread.join()
