"""Which worker do the others wait for? Slow is not dead: such a worker is named, not ended. Pure.

All workers of a step meet in the exchange of gradients, and each knows how long it stood there. The one that is late
hardly waits; the others wait for it.
"""

from __future__ import annotations

from typing import Optional

from mxspark.protocol.events import Beat, Straggler

WINDOW_S = 10.0
"""Long enough for what happens once (a page cache that is cold, a neighbour that starts) to even out."""
SHARE = 1 / 3
"""Of the window that the others have to wait: half as much again could be trained without the straggler."""
AGAIN_S = 300.0
"""The same one is named again after so long."""


class Watch:
    """Listens to the beats of all workers.

    Parameters
    ----------
    size : int
        Number of workers.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._first: dict[int, Beat] = {}
        self._last: dict[int, Beat] = {}
        self._named: dict[int, float] = {}  # when, in the seconds of its own beats

    def hear(self, rank: int, beat: Beat) -> Optional[Straggler]:
        """Take a beat; return the straggler of the window that ends with it, if it is one that is not known yet."""
        if beat.meeting_s is None:  # and so it is judged of nobody
            return None
        first = self._first.setdefault(rank, beat)
        if beat.seconds < first.seconds or beat.step < first.step:  # of a new attempt
            self._begin_again()
            return None
        self._last[rank] = beat
        if len(self._first) < self._size or min(map(self._seconds, range(self._size))) < WINDOW_S:
            return None
        found = self._judge()
        self._first, self._last = dict(self._last), {}
        return self._news(found)

    def _begin_again(self) -> None:
        self._first.clear()
        self._last.clear()
        self._named.clear()

    def _seconds(self, rank: int) -> float:
        last = self._last.get(rank)
        return last.seconds - self._first[rank].seconds if last is not None else 0.0

    def _judge(self) -> Optional[Straggler]:
        """Return the worker that every other one waited for, None if there is no such one."""
        shares = {rank: self._meeting_s(rank) / self._seconds(rank) for rank in range(self._size)}
        slow = min(shares, key=lambda rank: shares[rank])
        waited = min((share for rank, share in shares.items() if rank != slow), default=0.0)
        if waited - shares[slow] < SHARE:
            return None
        first, last = self._first[slow], self._last[slow]
        reading = (last.waiting_s - first.waiting_s) / self._seconds(slow)
        return Straggler(slow, round(waited, 3), round(reading, 3), round(self._seconds(slow), 1))

    def _meeting_s(self, rank: int) -> float:
        return (self._last[rank].meeting_s or 0.0) - (self._first[rank].meeting_s or 0.0)

    def _news(self, found: Optional[Straggler]) -> Optional[Straggler]:
        """Return the straggler unless it was named lately: one near the threshold comes and goes."""
        if found is None:
            return None
        now = self._first[found.rank].seconds
        if found.rank in self._named and now - self._named[found.rank] < AGAIN_S:
            return None
        self._named[found.rank] = now
        return found


def words(found: Straggler, host: str) -> str:
    """Return in words who is slow, by how much, and with what."""
    doing = "waits for its rows (a slow disk?)" if found.reading > SHARE else "computes (a busy or slow core?)"
    where = f" on {host}" if host else ""
    return (
        f"worker {found.rank}{where} is slow: the others waited for it {found.waited:.0%} of the last "
        f"{found.window_s:.0f} s, while it {doing}"
    )
