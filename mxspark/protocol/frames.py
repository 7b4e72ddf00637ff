"""Frames: a length and one JSON object; on the network each frame is authenticated. Nothing is ever unpickled.

The codecs do no I/O: they take bytes and give objects, so the agents' loop, blocking callers and tests share them.

* :class:`Plain` for channels whose two ends were inherited (socket pairs, pipes).
* :class:`Secured` for TCP. Both ends prove that they know the job's secret before anything but fixed-size binary
  fields is parsed; then every frame carries a MAC over direction, sequence number and body, so none can be changed,
  replayed, reordered, reflected or taken from another connection.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import struct
from typing import Any, Optional, Protocol

MAX_FRAME_BYTES = 16 * 2**20
MAGIC = b"mxspark\x01"
NONCE_BYTES = 32
MAC_BYTES = 32
_LENGTH = struct.Struct(">I")
_SEQUENCE = struct.Struct(">Q")

Message = dict[str, Any]


class WireError(Exception):
    """What arrived is no frame of ours; the connection cannot be used any more."""


def prove(secret: bytes, who: bytes, facts: bytes) -> bytes:
    """Return what shows, to somebody who knows the job's secret, that `who` knows it too.

    Parameters
    ----------
    who : bytes
        The part that is played, so that a proof cannot be sent back to where it came from.
    facts : bytes
        Of a fixed length, with a nonce of each end, so that no proof is good twice.
    """
    return hmac.digest(secret, MAGIC + who + b"\0" + facts, "sha256")


def _dump(message: Message) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame may hold {MAX_FRAME_BYTES} bytes, this one has {len(body)}; send less at once")
    return body


def _parse(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a frame of {len(body)} bytes is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise WireError(f"a frame holds a {type(message).__name__}, not an object")
    return message


class Codec(Protocol):
    """One end of a connection, without the connection."""

    @property
    def is_ready(self) -> bool:
        """Whether frames may be packed."""

    def pack(self, message: Message) -> bytes:
        """Return the bytes of a frame."""

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes that arrived and return the frames they completed; raise `WireError` if they are none."""

    def take_outgoing(self) -> bytes:
        """Return, once, the bytes the codec itself wants sent (a handshake)."""


class _Buffer:
    """Bytes that arrived and were not used yet."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes)

    def add(self, data: bytes) -> None:
        self._bytes += data

    def cut(self, count: int) -> Optional[bytes]:
        """Return and drop the first `count` bytes, or None while they are not there."""
        if len(self._bytes) < count:
            return None
        part = bytes(self._bytes[:count])
        del self._bytes[:count]
        return part

    def cut_frame(self, extra: int) -> Optional[bytes]:
        """Return and drop what follows a complete length field: `extra` bytes and the body."""
        if len(self._bytes) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._bytes)
        # before anything is waited for: the other end must not make us hold what it only announces
        if length > MAX_FRAME_BYTES:
            raise WireError(f"a frame of {length} bytes was announced, {MAX_FRAME_BYTES} are allowed")
        whole = self.cut(_LENGTH.size + extra + length)
        return None if whole is None else whole[_LENGTH.size :]


class Plain:
    """Frames over a channel that is trusted because both ends were inherited."""

    is_ready = True

    def __init__(self) -> None:
        self._buffer = _Buffer()

    def pack(self, message: Message) -> bytes:
        """Return the bytes of a frame."""
        body = _dump(message)
        return _LENGTH.pack(len(body)) + body

    def feed(self, data: bytes) -> list[Message]:
        """Return the frames completed by `data`."""
        self._buffer.add(data)
        frames = []
        while (body := self._buffer.cut_frame(0)) is not None:
            frames.append(_parse(body))
        return frames

    def take_outgoing(self) -> bytes:
        """Return nothing: there is no handshake."""
        return b""


class Secured:
    """One end of an authenticated connection.

    The client says ``magic | nonce``, the server answers ``nonce | proof``, the client sends its ``proof``. A proof is
    HMAC-SHA256 over who proves and both nonces; the key of the session is derived in the same way.

    Parameters
    ----------
    secret : bytes
        The job's secret, at least 16 bytes.
    server : bool
        Which end this is.
    """

    def __init__(self, secret: bytes, server: bool) -> None:
        if len(secret) < 16:
            raise ValueError(f"a secret needs at least 16 bytes, this one has {len(secret)}")
        self._secret = secret
        self._server = server
        self._buffer = _Buffer()
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._peer_nonce = b""
        self._key = b""
        self._sent = 0
        self._received = 0
        # the client speaks first: a server that somebody has only connected to says nothing of itself
        self._outgoing = b"" if server else MAGIC + self._nonce
        self.is_ready = False

    def take_outgoing(self) -> bytes:
        """Return, once, the bytes the handshake wants sent."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def pack(self, message: Message) -> bytes:
        """Return the bytes of a frame."""
        if not self.is_ready:
            raise RuntimeError("the peer has not proved yet that it knows the secret")
        body = _dump(message)
        mac = self._mac(self._server, self._sent, body)
        self._sent += 1
        return _LENGTH.pack(len(body)) + mac + body

    def feed(self, data: bytes) -> list[Message]:
        """Return the frames completed by `data`; before the handshake is through there are none."""
        self._buffer.add(data)
        if not self.is_ready:
            self._shake_hands()
        frames: list[Message] = []
        while self.is_ready and (rest := self._buffer.cut_frame(MAC_BYTES)) is not None:
            mac, body = rest[:MAC_BYTES], rest[MAC_BYTES:]
            # checked before the body is parsed: JSON of somebody who does not know the secret is never looked at
            if not hmac.compare_digest(mac, self._mac(not self._server, self._received, body)):
                raise WireError(f"frame {self._received} of the peer has a wrong MAC")
            self._received += 1
            frames.append(_parse(body))
        return frames

    def _shake_hands(self) -> None:
        if self._server and not self._peer_nonce:
            hello = self._buffer.cut(len(MAGIC) + NONCE_BYTES)
            if hello is None:
                return
            if not hmac.compare_digest(hello[: len(MAGIC)], MAGIC):
                raise WireError("the peer does not speak this protocol")
            self._peer_nonce = hello[len(MAGIC) :]
            self._outgoing += self._nonce + self._prove(b"server")
        elif not self._server and not self._peer_nonce:
            nonce = self._buffer.cut(NONCE_BYTES)
            if nonce is None:
                return
            self._peer_nonce = nonce
        # what follows the proof may be frames already: `feed` goes on with them once both ends are known
        proof = self._buffer.cut(MAC_BYTES)
        if proof is None:
            return
        if not hmac.compare_digest(proof, self._prove(b"client" if self._server else b"server")):
            raise WireError("the peer does not know the secret of this job")
        if not self._server:
            self._outgoing += self._prove(b"client")
        self._key = self._prove(b"session")
        self.is_ready = True

    def _prove(self, who: bytes) -> bytes:
        # always the client's nonce first, whichever end this is: both ends derive the same
        nonces = self._peer_nonce + self._nonce if self._server else self._nonce + self._peer_nonce
        return prove(self._secret, who, nonces)

    def _mac(self, by_server: bool, sequence: int, body: bytes) -> bytes:
        # the direction, or a frame could be sent back to where it came from; the number, or it could be sent twice
        head = (b"S" if by_server else b"C") + _SEQUENCE.pack(sequence)
        return hmac.new(self._key, head + body, hashlib.sha256).digest()
