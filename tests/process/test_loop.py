"""The loop's promises: order, fairness, and ends of children with and without pidfd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from mxspark.protocol import frames
from mxspark.protocol.stream import Stream
from mxspark.system.loop import Loop


@pytest.mark.parametrize("pidfd", [True, False])
def test_the_end_of_a_child_is_seen_and_left_to_be_reaped(pidfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    loop = Loop()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    seen = []
    loop.watch_exit(child.pid, lambda: (seen.append(child.returncode), loop.stop()))
    loop.after(0.2, lambda: (seen.append("alive"), child.kill()))
    loop.after(60, loop.stop)
    began = time.monotonic()
    loop.run()
    assert seen == ["alive", None] and child.wait(60) == -9
    assert time.monotonic() - began < 30
    assert child.stdin is not None
    child.stdin.close()


def test_timers_come_in_order_and_cancelled_ones_never() -> None:
    loop = Loop()
    seen: list[str] = []
    loop.after(0.02, lambda: seen.append("second"))
    loop.after(0.01, lambda: seen.append("first"))
    loop.after(0.015, lambda: seen.append("never")).cancel()
    loop.every(0.01, lambda: seen.append("again") if "second" in seen else None)
    loop.every(0.01, lambda: loop.stop() if seen.count("again") >= 2 else None)
    loop.run()
    assert seen[:2] == ["first", "second"] and "never" not in seen


def test_what_waits_in_a_descriptor_counts_before_a_deadline() -> None:
    """After a pause of the process both are due: a frame that came in time, and the deadline that it should prevent."""
    ours, theirs = socket.socketpair()
    loop = Loop()
    seen: list[str] = []
    Stream(loop, ours.detach(), frames.Plain(), lambda _frame: seen.append("frame"), lambda _error: None)
    loop.after(0.01, lambda: seen.append("deadline"))
    loop.after(0.01, loop.stop)
    theirs.sendall(frames.Plain().pack({"beat": 1}))
    time.sleep(0.05)
    loop.run()
    theirs.close()
    assert seen == ["frame", "deadline"]


def test_a_stream_sends_more_than_a_socket_holds_and_hears_the_end() -> None:
    ours, theirs = socket.socketpair()
    loop = Loop()
    heard: list[frames.Message] = []
    closed: list[object] = []
    big = {"x": "y" * 5_000_000}
    left = Stream(loop, ours.detach(), frames.Plain(), lambda _frame: None, closed.append)
    right = Stream(loop, theirs.detach(), frames.Plain(), heard.append, closed.append)
    left.send(big)
    assert left.queued_bytes > 1_000_000, "it does not block"
    loop.after(0.01, lambda: right.pause(True))
    loop.after(0.03, lambda: right.pause(False))
    loop.every(0.01, lambda: (left.close() if heard else None, loop.stop() if closed else None))
    loop.after(60, loop.stop)
    loop.run()
    assert heard == [big] and closed == [None] and not right.open
    left.send({"after": "the end"})


def test_a_broken_frame_ends_the_stream_with_its_reason() -> None:
    ours, theirs = socket.socketpair()
    loop = Loop()
    closed: list[object] = []
    Stream(loop, ours.detach(), frames.Plain(), lambda _frame: None, lambda error: (closed.append(error), loop.stop()))
    theirs.sendall(b"\xff" * 8)
    loop.run()
    theirs.close()
    assert "was announced" in str(closed[0])
