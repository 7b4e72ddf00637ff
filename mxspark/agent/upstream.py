"""The connection of a slot's agent to the driver's agent: sought until it is there, and given up when it is silent."""

from __future__ import annotations

import os
import socket
from enum import Enum
from typing import Callable, Optional

from mxspark.errors.phase import advance
from mxspark.protocol import events, frames
from mxspark.protocol.specs import AgentSpec
from mxspark.protocol.stream import Stream
from mxspark.system.loop import Loop
from mxspark.topology import identity

CONNECT_S = 10.0  # for one attempt to connect and to show that both ends know the secret
RETRY_S = 0.2
SLOW_BYTES = 2**18
"""Queued: from here beats are dropped, for newer ones say all that they say."""
FULL_BYTES = 2**20
"""Queued: from here the roles must wait until the driver's agent has taken some of it."""


class Phase(Enum):
    """How far the connection is."""

    SEEKING = "not there yet"
    JOINED = "both ends have shown that they know the secret"
    GIVEN_UP = "not sought, or not missed, any more"


STEPS = {
    Phase.SEEKING: (Phase.JOINED, Phase.GIVEN_UP),
    Phase.JOINED: (Phase.GIVEN_UP,),
    Phase.GIVEN_UP: (),
}


class Upstream:
    """Seeks the driver's agent, joins it, and sends what this agent and its roles report.

    Parameters
    ----------
    on_frame : callable
        Called with what the driver's agent sends.
    on_lost : callable
        Called with words when it cannot be reached, is gone, or has been silent for longer than its lease.
    """

    def __init__(
        self, loop: Loop, spec: AgentSpec, on_frame: Callable[[frames.Message], None], on_lost: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._spec = spec
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._phase = Phase.SEEKING
        self._stream: Optional[Stream] = None
        self._heard_at = loop.now()
        self._sought_until = loop.now() + spec.limits.start_s
        self._connect()

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be sent."""
        return self._stream.queued_bytes if self._stream is not None else 0

    def report(self, role: str, rank: int, event: events.Event) -> None:
        """Send what a role or this agent says, once the driver's agent is there."""
        if not (isinstance(event, events.Beat) and self.queued_bytes > SLOW_BYTES):
            self._send({"from": {"role": role, "rank": rank}, **events.to_wire(event)})

    def beat(self) -> None:
        """Say that this agent lives."""
        self._send({"beat": 1})

    def check_lease(self) -> None:
        """Give up a driver's agent that does not even beat: its host may be gone, without a word of TCP."""
        silent_s, lease_s = self._loop.now() - self._heard_at, self._spec.limits.lease_s
        if self._phase is Phase.JOINED and silent_s > lease_s:
            self._lose(f"the driver's agent was silent for {silent_s:.1f} s (failure.lease_s = {lease_s:g} s)")

    def give_up(self) -> None:
        """Seek and miss it no more; what is left to say is still sent."""
        if self._phase is Phase.SEEKING and self._stream is not None:
            self._stream.close()  # nobody is there yet who could hear anything
        if self._phase is not Phase.GIVEN_UP:
            self._phase = advance("the way to the driver's agent", self._phase, Phase.GIVEN_UP, STEPS)

    def flush(self, limit_s: float, action: Callable[[], None]) -> None:
        """Call `action()` once all is sent, or the time is over."""
        if self._stream is not None:
            self._stream.flush(limit_s, action)
        else:
            action()

    def _connect(self) -> None:
        if self._phase is not Phase.SEEKING:
            return
        host, port = self._spec.address
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex((host, port))  # the stream finds out how it went
        codec = frames.Secured(bytes.fromhex(self._spec.secret), server=False)
        stream = Stream(self._loop, sock.detach(), codec, self._take, self._closed, self._join)
        self._stream = stream
        self._loop.after(CONNECT_S, lambda: self._check_slow(stream))

    def _check_slow(self, stream: Stream) -> None:
        if stream is self._stream and self._phase is Phase.SEEKING:
            stream.close()
            self._closed(None)

    def _join(self) -> None:
        self._phase = advance("the way to the driver's agent", self._phase, Phase.JOINED, STEPS)
        self._heard_at = self._loop.now()
        host = self._spec.identity or identity.host_identity()
        event = events.Joined(self._spec.rank, os.uname().nodename, host, os.getpid())
        self.report("agent", self._spec.rank, event)

    def _take(self, frame: frames.Message) -> None:
        self._heard_at = self._loop.now()
        if "beat" not in frame:
            self._on_frame(frame)

    def _closed(self, error: Optional[frames.WireError]) -> None:
        """It is gone if it was there before; else it may not be there yet, for both are started at the same time."""
        host, port = self._spec.address
        if self._phase is Phase.JOINED or error is not None:
            self._lose(f"the driver's agent at {host}:{port} is gone: {error or 'the connection closed'}")
        elif self._loop.now() > self._sought_until:
            limit = f"failure.start_s = {self._spec.limits.start_s:g} s"
            self._lose(f"the driver's agent at {host}:{port} could not be reached within {limit}")
        else:
            self._loop.after(RETRY_S, self._connect)

    def _lose(self, why: str) -> None:
        if self._phase is not Phase.GIVEN_UP:
            self._on_lost(why)

    def _send(self, message: frames.Message) -> None:
        if self._phase is not Phase.SEEKING and self._stream is not None:
            self._stream.send(message)  # which does nothing once it is closed
