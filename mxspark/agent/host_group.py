"""The memory and the sockets that the workers of one host share: made by the leader's agent, handed to the others'.

A segment is a `memfd`: it has no name anywhere, and is gone with the last process that has it. An agent gets the
descriptors over a unix socket only this user can open, after both ends have shown that they know the job's secret; a
role gets them by inheritance alone. Each message is one packet: a nonce, an answer, and the descriptors.
"""

from __future__ import annotations

import array
import contextlib
import hmac
import logging
import os
import secrets
import socket
import struct
from collections.abc import Sequence
from enum import Enum
from typing import Callable, Optional

from mxspark.errors.phase import advance
from mxspark.protocol.frames import MAC_BYTES, NONCE_BYTES, prove
from mxspark.protocol.specs import Inherited, Meeting
from mxspark.system import unix_sockets
from mxspark.system.loop import READ, Loop

log = logging.getLogger(__name__)

MOST_MEMBERS = 120  # the kernel passes 253 descriptors at once, and a worker needs two for each of its host
ANSWER_S, RETRY_S = 2.0, 0.02
BACKLOG = 128
_RANK = struct.Struct(">I")


class MeetingError(Exception):
    """The other end is not who it should be."""


def proof(secret: bytes, who: bytes, nonces: bytes, rank: int) -> bytes:
    """Return what the guest for worker `rank`, or the leader to it, shows."""
    return prove(secret, who, nonces + _RANK.pack(rank))


def make(hosts: tuple[tuple[int, ...], ...], members: Sequence[int]) -> dict[int, Inherited]:
    """Make the descriptors of the workers of one host, by rank; those of the segments are the same for all."""
    if len(members) > MOST_MEMBERS:
        raise OSError(
            f"{len(members)} workers are on one host, {MOST_MEMBERS} can share memory: use fewer, with more threads"
        )
    segments = tuple(os.memfd_create(f"mxspark-gradients-{rank}", os.MFD_CLOEXEC) for rank in members)
    totals = os.memfd_create("mxspark-totals", os.MFD_CLOEXEC)
    peers: dict[int, list[tuple[int, int]]] = {rank: [] for rank in members}
    for place, one in enumerate(members):
        for other in members[place + 1 :]:
            here, there = socket.socketpair()
            peers[one].append((other, here.detach()))
            peers[other].append((one, there.detach()))
    return {rank: Inherited(hosts, segments, totals, tuple(sorted(peers[rank]))) for rank in members}


def close(descriptors: Sequence[int]) -> None:
    """Close all of them."""
    for fd in descriptors:
        with contextlib.suppress(OSError):
            os.close(fd)


class Host:
    """The leader's end: holds all descriptors until every other agent of the host has its own.

    Parameters
    ----------
    rank : int
        The leader.
    """

    def __init__(self, loop: Loop, meeting: Meeting, rank: int, secret: bytes) -> None:
        self._loop = loop
        self._meeting = meeting
        self._secret = secret
        self._given = make(meeting.hosts, meeting.members)
        self._waiting = set(meeting.members) - {rank}
        self._guests: dict[int, socket.socket] = {}
        self.own = self._given[rank]
        self._listener = unix_sockets.listen(meeting.socket, socket.SOCK_SEQPACKET, BACKLOG)
        loop.watch(self._listener.fileno(), READ, self._accept)

    def release_own(self) -> None:
        """Close what the leader's own worker has got: the others must see it as gone when that worker is."""
        close([fd for _, fd in self.own.peers])

    def close(self) -> None:
        """Let go of everything; whoever has not come finds nobody."""
        if self._listener.fileno() < 0:
            return
        self._loop.watch(self._listener.fileno(), 0, self._accept)
        self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self._meeting.socket)
        for guest in list(self._guests.values()):
            self._drop(guest)
        close([*self.own.segments, self.own.totals])
        close([fd for rank in self._waiting for _, fd in self._given[rank].peers])

    def _accept(self, _events: int) -> None:
        try:
            guest, _ = self._listener.accept()
        except OSError:
            return
        guest.setblocking(False)
        nonce = secrets.token_bytes(NONCE_BYTES)
        self._guests[guest.fileno()] = guest
        self._loop.after(ANSWER_S, lambda: self._drop(guest))  # whoever says nothing must not keep us for ever
        if not unix_sockets.same_user(guest):
            log.warning("a process of another user came to the meeting of the workers and was sent away")
            self._drop(guest)
            return
        self._loop.watch(guest.fileno(), READ, lambda _: self._answer(guest, nonce))
        with contextlib.suppress(OSError):
            guest.send(nonce)

    def _answer(self, guest: socket.socket, nonce: bytes) -> None:
        """Hand a guest that knows the secret what is its own, once; after the last of them the meeting is over."""
        try:
            answer = guest.recv(_RANK.size + NONCE_BYTES + MAC_BYTES + 1)
            rank, theirs = self._understand(answer, nonce)
            data = proof(self._secret, b"leader", theirs, rank)
            given = self._given[rank]
            guest.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given.descriptors()))])
        except (OSError, MeetingError) as error:
            log.warning("somebody at the meeting of the workers was sent away: %s", error)
            self._drop(guest)
            return
        self._waiting.discard(rank)  # only now: what could not be sent may be asked for again
        close([fd for _, fd in given.peers])
        self._drop(guest)
        if not self._waiting:
            self.close()

    def _understand(self, answer: bytes, nonce: bytes) -> tuple[int, bytes]:
        if len(answer) != _RANK.size + NONCE_BYTES + MAC_BYTES:
            raise MeetingError(f"an answer of {len(answer)} bytes")
        (rank,) = _RANK.unpack_from(answer)
        theirs, mac = answer[_RANK.size : -MAC_BYTES], answer[-MAC_BYTES:]
        if not hmac.compare_digest(mac, proof(self._secret, b"guest", nonce + theirs, rank)):
            raise MeetingError("it does not know the job's secret")
        if rank not in self._waiting:
            raise MeetingError(f"worker {rank} is not one of this host that has not come yet")
        return rank, theirs

    def _drop(self, guest: socket.socket) -> None:
        if guest.fileno() >= 0:
            self._guests.pop(guest.fileno(), None)
            self._loop.watch(guest.fileno(), 0, self._accept)
            guest.close()


class Phase(Enum):
    """How far a guest is."""

    SEEKING = "the leader is not there yet"
    CALLING = "the leader is to show a nonce"
    ASKING = "the leader is to hand over the descriptors"
    OVER = "it has them, or does not want them any more"


STEPS = {
    Phase.SEEKING: (Phase.CALLING, Phase.OVER),
    Phase.CALLING: (Phase.SEEKING, Phase.ASKING, Phase.OVER),
    Phase.ASKING: (Phase.SEEKING, Phase.OVER),
    Phase.OVER: (),
}


class Guest:
    """Another agent's end: asks the leader's agent until it has the descriptors.

    Parameters
    ----------
    done : callable
        Called once with the descriptors.
    failed : callable
        Called once with words if the leader is not who it should be.
    """

    def __init__(
        self,
        loop: Loop,
        meeting: Meeting,
        rank: int,
        secret: bytes,
        done: Callable[[Inherited], None],
        failed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._meeting = meeting
        self._rank = rank
        self._secret = secret
        self._done = done
        self._failed = failed
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._sock: Optional[socket.socket] = None
        self._phase = Phase.SEEKING
        self._seek()

    def close(self) -> None:
        """Ask no more."""
        if self._phase is not Phase.OVER:
            self._step_to(Phase.OVER)
            self._hang_up()

    def _step_to(self, phase: Phase) -> None:
        self._phase = advance("a guest of the meeting of the workers", self._phase, phase, STEPS)

    def _seek(self) -> None:
        """Go to the leader; nobody is there before its agent has got its own orders."""
        if self._phase is Phase.OVER:
            return
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        try:
            self._sock.connect(self._meeting.socket)
        except OSError:
            self._seek_later()
            return
        self._step_to(Phase.CALLING)
        self._loop.watch(self._sock.fileno(), READ, self._hear)

    def _seek_later(self) -> None:
        self._hang_up()
        self._loop.after(RETRY_S, self._seek)

    def _hang_up(self) -> None:
        if self._sock is not None:
            self._loop.watch(self._sock.fileno(), 0, self._hear)
            self._sock.close()
            self._sock = None

    def _hear(self, _events: int) -> None:
        assert self._sock is not None
        try:
            if self._phase is Phase.CALLING:
                self._ask(self._sock)
            else:
                self._receive(self._sock)
        except OSError:
            self._step_to(Phase.SEEKING)  # it had no room for us, or is gone and another may come
            self._seek_later()
        except MeetingError as error:
            self.close()
            self._failed(f"what answers at {self._meeting.socket} is not the agent of worker {self._leader}: {error}")

    @property
    def _leader(self) -> int:
        return self._meeting.members[0]

    def _ask(self, sock: socket.socket) -> None:
        nonce = sock.recv(NONCE_BYTES + 1)
        if not nonce:
            raise ConnectionResetError
        if len(nonce) != NONCE_BYTES or not unix_sockets.same_user(sock):
            raise MeetingError("it is another user's, or speaks otherwise")
        mac = proof(self._secret, b"guest", nonce + self._nonce, self._rank)
        sock.send(_RANK.pack(self._rank) + self._nonce + mac)
        self._step_to(Phase.ASKING)

    def _receive(self, sock: socket.socket) -> None:
        others = [rank for rank in self._meeting.members if rank != self._rank]
        size = array.array("i").itemsize
        data, ancillary, _, _ = sock.recvmsg(MAC_BYTES + 1, socket.CMSG_SPACE(2 * MOST_MEMBERS * size))
        received = array.array("i")
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                received.frombytes(content[: len(content) - len(content) % size])
        if not data:
            close(received)
            raise ConnectionResetError
        expected = len(self._meeting.members) + len(others) + 1
        good = hmac.compare_digest(data, proof(self._secret, b"leader", self._nonce, self._rank))
        if not good or len(received) != expected:
            close(received)
            raise MeetingError(f"a wrong answer, with {len(received)} descriptors where {expected} are due")
        self.close()
        count = len(self._meeting.members)
        peers = tuple(zip(others, received[count:-1]))
        self._done(Inherited(self._meeting.hosts, tuple(received[:count]), received[-1], peers))
