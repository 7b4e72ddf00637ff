"""The one loop of an agent: descriptors, ends of child processes and timers, one after the other in one thread.

Not asyncio, which would replace the half of it: it would add a quarter to the import of an agent, for which every
worker waits; and it promises no order between what is due and what is readable. After a pause of this process (a host
that was suspended, a SIGSTOP, a machine that swaps) every lease would seem to have run out, while the beats that prove
the contrary wait in the sockets. Here descriptors come before timers in every turn.
"""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import time
from typing import Callable, Optional

from mxspark.protocol import frames as wire

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
READ_BYTES = 65536
EXIT_POLL_S = 0.05
FLUSH_POLL_S = 0.01
DRAIN_READS = 300  # a socket holds less; whoever sends faster than we read must not keep us


class Timer:
    """Something due later; `cancel` makes it never happen."""

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Optional[Callable[[], None]] = action

    def cancel(self) -> None:
        """Forget it."""
        self.action = None


class Loop:
    """Waits for whatever comes first and calls who asked for it. All times are `time.monotonic`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._running = True

    def now(self) -> float:
        """Return the time on the loop's clock."""
        return time.monotonic()

    def watch(self, fd: int, events: int, action: Callable[[int], None]) -> None:
        """Call `action(events)` whenever `fd` is ready; no events means forget it."""
        known = fd in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, events, action)
        else:
            self._selector.register(fd, events, action)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call `action()` once, in `seconds`."""
        timer = Timer(self.now() + seconds, action)
        heapq.heappush(self._timers, (timer.due, next(self._count), timer))
        return timer

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action()` again and again."""

        def again() -> None:
            self.after(seconds, again)
            action()

        self.after(seconds, again)

    def watch_exit(self, pid: int, action: Callable[[], None]) -> None:
        """Call `action()` once the child `pid` has ended; it is left for the caller to reap."""
        try:
            pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):  # kernel before 5.3
            self._poll_exit(pid, action)
            return

        def ended(_events: int) -> None:
            self.watch(pidfd, 0, ended)
            os.close(pidfd)
            action()

        self.watch(pidfd, READ, ended)

    def _poll_exit(self, pid: int, action: Callable[[], None]) -> None:
        try:
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            ended = True
        if ended:
            action()
        else:
            self.after(EXIT_POLL_S, lambda: self._poll_exit(pid, action))

    def stop(self) -> None:
        """Leave :meth:`run` after this turn."""
        self._running = False

    def run(self) -> None:
        """Turn until stopped."""
        while self._running:
            self._turn()

    def _turn(self) -> None:
        wait = None if not self._timers else max(0.0, self._timers[0][0] - self.now())
        for key, events in self._selector.select(wait):
            current = self._selector.get_map().get(key.fd)
            if current is not None and current.data is key.data:  # an earlier action may have closed it
                key.data(events)
        # Descriptors came first: after a pause of this process, what waits in them must count before any deadline.
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.action is not None:
                timer.action()


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
