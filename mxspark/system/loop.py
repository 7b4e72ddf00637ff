"""The one loop of an agent or link: descriptors, ends of child processes and timers, one at a time in one thread.

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

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
EXIT_POLL_S = 0.05


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
