"""A connection in the loop of a process: frames in, frames out."""

from __future__ import annotations

import os
from typing import Callable, Optional

from mxspark.protocol import frames as wire
from mxspark.system.loop import READ, WRITE, Loop

READ_BYTES = 65536
FLUSH_POLL_S = 0.01
DRAIN_READS = 300  # a socket holds less; whoever sends faster than we read must not keep us


class Stream:
    """A connection in the loop: frames in, frames out, never blocking.

    Parameters
    ----------
    fd : int
        Descriptor; the stream owns it.
    on_frame : callable
        Called with each message.
    on_close : callable
        Called once when the other end is gone (with None) or broke the protocol (with the error), not after `close`.
    on_ready : callable
        Called once when the codec is ready, at once for one without handshake.
    """

    def __init__(
        self,
        loop: Loop,
        fd: int,
        codec: wire.Codec,
        on_frame: Callable[[wire.Message], None],
        on_close: Callable[[Optional[wire.WireError]], None],
        on_ready: Optional[Callable[[], None]] = None,
    ) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._codec = codec
        self._on_frame = on_frame
        self._on_close = on_close
        self._on_ready = on_ready
        self._outgoing = bytearray(codec.take_outgoing())
        self._is_paused = False
        self._events = 0
        self._action = self._on_events  # one object, the loop compares identity
        self._update()

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._outgoing)

    @property
    def open(self) -> bool:
        """Whether it can still be used."""
        return self._fd >= 0

    def send(self, message: wire.Message) -> None:
        """Queue a frame and send what the other end takes now; nothing happens once closed."""
        if self.open:
            self._outgoing += self._codec.pack(message)
            self._write()

    def pause(self, paused: bool) -> None:
        """Stop or resume reading: the other end then feels that nobody listens."""
        if self._is_paused != paused:
            self._is_paused = paused
            self._update()

    def drain(self) -> None:
        """Take what the other end has sent so far, paused or not."""
        for _ in range(DRAIN_READS):
            if not (self.open and self._read()):
                break

    def flush(self, limit_s: float, action: Callable[[], None]) -> None:
        """Call `action()` once all is sent, the stream is closed, or the time is over."""
        if self.open and self.queued_bytes and limit_s > 0:
            self._loop.after(FLUSH_POLL_S, lambda: self.flush(limit_s - FLUSH_POLL_S, action))
        else:
            action()

    def close(self) -> None:
        """Close without a word to the owner."""
        if self.open:
            self._loop.watch(self._fd, 0, self._action)
            os.close(self._fd)
            self._fd = -1

    def _on_events(self, events: int) -> None:
        if events & WRITE:
            self._write()
        if events & READ and self.open:
            self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._fail(None)
            return False
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        try:
            frames = self._codec.feed(data)
        except wire.WireError as error:
            self._fail(error)
            return
        self._outgoing += self._codec.take_outgoing()
        self._write()
        if self._codec.is_ready and self._on_ready is not None:
            ready, self._on_ready = self._on_ready, None
            ready()
        for frame in frames:
            if self.open:
                self._on_frame(frame)

    def _write(self) -> None:
        while self._outgoing and self.open:
            try:
                sent = os.write(self._fd, self._outgoing)
            except BlockingIOError:
                break
            except OSError:
                self._outgoing.clear()  # reading will tell what happened, after the last words of the other end
                break
            del self._outgoing[:sent]
        if self.open:
            self._update()

    def _update(self) -> None:
        events = (0 if self._is_paused else READ) | (WRITE if self._outgoing else 0)
        if events != self._events:
            self._events = events
            self._loop.watch(self._fd, events, self._action)

    def _fail(self, error: Optional[wire.WireError]) -> None:
        self.close()
        self._on_close(error)
