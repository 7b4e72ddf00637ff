"""Publishing beside the training: in a thread, and again and again while the storage is ill."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from dataclasses import dataclass
from typing import Callable, Optional, Union

from mxspark.errors import ClusterError, InternalError, JobDirError, MXSparkError
from mxspark.protocol.events import Staged
from mxspark.storage.base import Gone, NoRoom

log = logging.getLogger(__name__)

FIRST_S, LONGEST_S = 0.5, 10.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Published:
    """What was `staged` at `at` (on the monotonic clock) is published as `path`."""

    staged: Staged
    path: str
    at: float


@dataclass(frozen=True)
class Delayed:
    """The storage refused; what was staged is kept and tried again. Said once for each that is staged."""

    staged: Staged
    error: MXSparkError


Outcome = Union[Published, Delayed]


class Publisher:
    """Publishes staged folders one after the other.

    While the storage is ill the training goes on, and of each kind only the newest is kept: an older checkpoint gives
    way to a newer one.

    Parameters
    ----------
    publish : callable
        Publishes one folder and returns its path; called in the thread.
    retry_s : float
        How long after a first failure to go on trying before the run ends (``checkpoint.retry_s``).
    """

    def __init__(
        self,
        publish: Callable[[Staged], str],
        retry_s: float,
        now: Callable[[], float] = time.monotonic,
        first_s: float = FIRST_S,
    ) -> None:
        self._publish, self._retry_s, self._now, self._first_s = publish, retry_s, now, first_s
        self._change = threading.Condition()
        self._waiting: dict[str, tuple[Staged, float]] = {}
        self._in_hand = self._closed = False
        self._outcomes: list[Outcome] = []
        self._error: Optional[MXSparkError] = None
        self._ill_since: Optional[float] = None
        self._thread: Optional[threading.Thread] = None

    def put(self, staged: Staged) -> None:
        """Have a folder published; an older one of its kind that still waits is dropped."""
        with self._change:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mxspark-publisher", daemon=True)
                self._thread.start()
            before = self._waiting.pop(staged.kind, None)
            self._waiting[staged.kind] = (staged, self._now())
            self._change.notify_all()
        if before is not None:
            _drop(before[0])

    def outcomes(self) -> list[Outcome]:
        """Return what has happened since the last call.

        Raises
        ------
        MXSparkError
            When a folder could not be published; nothing is published after that.
        """
        with self._change:
            found, self._outcomes = self._outcomes, []
            if self._error is not None and not found:
                raise self._error
        return found

    @property
    def busy(self) -> bool:
        """Whether something is still to be published, or to be told by :meth:`outcomes`."""
        with self._change:
            left = bool(self._waiting) or self._in_hand
            return bool(self._outcomes) or self._error is not None or left

    def close(self, limit_s: float) -> None:
        """Try nothing again, and wait for `limit_s` at most for what is just being published."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(limit_s)

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            staged, at = taken
            try:
                outcome = self._until_published(staged, at)
            except Exception as error:
                ours = error if isinstance(error, MXSparkError) else InternalError(f"publishing failed: {error!r}")
                log.warning("nothing is published any more: %s", ours.message)
                with self._change:
                    self._error, self._in_hand = ours, False
                return
            with self._change:
                self._in_hand = False
                if outcome is not None:
                    self._outcomes.append(outcome)

    def _next(self) -> Optional[tuple[Staged, float]]:
        """Wait for the oldest folder that waits and take it in hand; None once closed."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._in_hand = True
            return self._waiting.pop(next(iter(self._waiting)))

    def _until_published(self, staged: Staged, at: float) -> Optional[Published]:
        """Publish, as often as it takes; None if a newer one takes its place, or there is no time left."""
        wait_s, told = self._first_s, False
        while True:
            try:
                path = self._publish(staged)
            except Gone:
                raise
            except (ClusterError, NoRoom) as error:
                self._ill(error, staged, told)
                told = True
            else:
                self._ill_since = None
                return Published(staged, path, at)
            with self._change:
                self._change.wait_for(lambda: self._closed or staged.kind in self._waiting, wait_s)
                if self._closed:
                    return None
                if staged.kind in self._waiting:
                    _drop(staged)
                    return None
            wait_s = min(2 * wait_s, LONGEST_S)

    def _ill(self, error: Union[ClusterError, NoRoom], staged: Staged, told: bool) -> None:
        """Note a failure; raise it if it has lasted too long."""
        now = self._now()
        self._ill_since = now if self._ill_since is None else self._ill_since
        if now - self._ill_since > self._retry_s:
            kind = JobDirError if isinstance(error, JobDirError) else ClusterError
            raise kind(f"{error.message}\nit was tried again for checkpoint.retry_s = {self._retry_s:g} s") from error
        if not told:
            with self._change:
                self._outcomes.append(Delayed(staged, error))


def settle(publisher: Publisher, take: Callable[[], None], wait: Callable[[float], None]) -> None:
    """Return once everything is published; `take` is called with every turn, and takes the outcomes."""
    while publisher.busy:
        take()
        wait(_POLL_S)
    take()


def _drop(staged: Staged) -> None:
    shutil.rmtree(staged.path, ignore_errors=True)
