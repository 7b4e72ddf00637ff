"""Driver and task meet on TCP, each opening one connection, and only if both know the secret."""

from __future__ import annotations

import contextlib
import socket

import pytest

from mxspark.check import network

SECRET = b"s" * 32


@pytest.fixture
def listener():
    with contextlib.closing(network.Listener("127.0.0.1", SECRET)) as found:
        yield found


def test_both_ways(listener):
    to_driver, from_driver, clock_s = network.meet(listener.address, SECRET)
    assert (to_driver, from_driver) == ("", "")
    assert abs(clock_s) < 5, "it is the same clock"


def test_a_later_clock_is_told(listener, monkeypatch):
    real = network.time.time
    calls = iter(range(10))
    # the task asks before it sends and when it has the answer; in between the driver's thread does
    monkeypatch.setattr(network.time, "time", lambda: real() + (100 if next(calls) != 1 else 0))
    assert 99 < network.meet(listener.address, SECRET)[2] < 101


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    to_driver, from_driver, _ = network.meet(address, SECRET)
    assert f"127.0.0.1 port {address[1]}: " in to_driver and from_driver == "not tried"


def test_who_does_not_know_the_secret_is_turned_away(listener):
    assert network.meet(listener.address, b"x" * 32)[0]
    assert network.meet(listener.address, SECRET)[:2] == ("", ""), "and others are still answered"


def test_a_task_that_cannot_be_reached(listener, monkeypatch):
    monkeypatch.setattr(network, "_be_visited", lambda _server, _secret: None)  # as if a firewall held it up
    monkeypatch.setattr(network, "LIMIT_S", 2.0)
    monkeypatch.setattr(network, "VISIT_S", 1.0)
    to_driver, from_driver, _ = network.meet(listener.address, SECRET)
    assert to_driver == "" and "127.0.0.1 port" in from_driver


def test_it_ends(listener):
    listener.close()
    with pytest.raises(ConnectionRefusedError, match="Connection refused"):
        socket.create_connection(listener.address, 1)
