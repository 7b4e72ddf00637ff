"""Publishing beside the training: in a thread, and again and again while the storage is ill."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator
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
    """The storage is ill; what was staged is kept until it is well. Said once for each that is staged."""

    staged: Staged
    error: MXSparkError


Outcome = Union[Published, Delayed]


class _Patience:
    """How long an ill storage is borne with, and how long to wait before it is tried again."""

    def __init__(self, retry_s: float, first_s: float) -> None:
        self._retry_s = retry_s
        self._first_s = first_s
        self._ill_since: Optional[float] = None

    def waits(self) -> Iterator[float]:
        """Yield the seconds to wait after each failure of one folder: each time twice as long, up to a limit."""
        wait_s = self._first_s
        while True:
            yield wait_s
            wait_s = min(2 * wait_s, LONGEST_S)

    def note_success(self) -> None:
        """The storage is well."""
        self._ill_since = None

    def note_failure(self, error: Union[ClusterError, NoRoom]) -> None:
        """Raise an error if the storage has been ill for too long.

        It counts from the first failure after the last success, whichever folder it met: a newer checkpoint that takes
        the place of one that cannot be published must not give an ill storage its time anew.
        """
        now = time.monotonic()
        if self._ill_since is None:
            self._ill_since = now
        if now - self._ill_since > self._retry_s:
            kind = JobDirError if isinstance(error, JobDirError) else ClusterError
            raise kind(f"{error.message}\nit was tried again for checkpoint.retry_s = {self._retry_s:g} s") from error


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

    def __init__(self, publish: Callable[[Staged], str], retry_s: float, first_s: float = FIRST_S) -> None:
        self._publish = publish
        self._patience = _Patience(retry_s, first_s)
        # guards all below, and is told of each change: the driver's thread puts and asks, ours publishes
        self._change = threading.Condition()
        self._waiting: dict[str, tuple[Staged, float]] = {}
        self._in_hand: Optional[Staged] = None
        self._ill: Optional[MXSparkError] = None
        self._outcomes: list[Outcome] = []
        self._error: Optional[MXSparkError] = None
        self._is_closed = False
        self._thread: Optional[threading.Thread] = None

    def put(self, staged: Staged) -> None:
        """Have a folder published; an older one of its kind that still waits is dropped."""
        with self._change:
            # started here and not in the constructor: a run without checkpoints has no thread. It is a daemon, as a
            # storage that hangs would else keep the driver's process from ending; what is lost is staged, not published
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mxspark-publisher", daemon=True)
                self._thread.start()
            before = self._waiting.pop(staged.kind, None)
            self._waiting[staged.kind] = (staged, time.monotonic())
            # at once, and not when its turn comes: a worker waits for this word, and another kind, a model, may be in
            # hand for as long as the storage is ill
            if self._ill is not None:
                self._outcomes.append(Delayed(staged, self._ill))
            self._change.notify_all()
        # outside of the lock: removing gigabytes takes time, and nobody else can have them, as only what waits is taken
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
            outcomes = self._outcomes
            self._outcomes = []
            # what was published before the failure is told first: the result names the newest checkpoint that is there
            if self._error is not None and not outcomes:
                raise self._error
        return outcomes

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be published, or to be told by :meth:`outcomes`."""
        with self._change:
            is_to_publish = bool(self._waiting) or self._in_hand is not None
            is_to_tell = bool(self._outcomes) or self._error is not None
            return is_to_publish or is_to_tell

    def close(self, limit_s: float) -> None:
        """Try nothing again, and wait for `limit_s` at most for what is just being published."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        # bounded: the call to the storage that is under way cannot be interrupted, and may never return
        if self._thread is not None:
            self._thread.join(limit_s)

    def _run(self) -> None:
        while (taken := self._take_next()) is not None:
            staged, at = taken
            try:
                outcome = self._publish_until_done(staged, at)
            except Exception as error:
                # whatever it is must come out in the driver's thread: one that died here in silence would let the run
                # train to its end and publish nothing
                ours = error if isinstance(error, MXSparkError) else InternalError(f"publishing failed: {error!r}")
                log.warning("nothing is published any more: %s", ours.message)
                with self._change:
                    self._error = ours
                    self._in_hand = None
                return
            # both at once: between the two `is_busy` would answer that all is done, and the outcome be lost
            with self._change:
                self._in_hand = None
                if outcome is not None:
                    self._outcomes.append(outcome)

    def _take_next(self) -> Optional[tuple[Staged, float]]:
        """Wait for the oldest folder that waits and take it in hand; None once closed and nothing waits."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._is_closed)
            if not self._waiting:
                return None
            # in hand under the same lock under which it stops waiting, or `is_busy` could see neither
            staged, at = self._waiting.pop(next(iter(self._waiting)))
            self._in_hand = staged
            return staged, at

    def _publish_until_done(self, staged: Staged, at: float) -> Optional[Published]:
        """Publish, as often as it takes; None if a newer one takes its place, or there is no time left."""
        waits = self._patience.waits()
        while True:
            try:
                path = self._publish(staged)
            except Gone:
                raise  # the driver's JVM: no time heals that
            except (ClusterError, NoRoom) as error:
                self._patience.note_failure(error)
                self._tell_ill(error)
            else:
                self._patience.note_success()
                with self._change:
                    self._ill = None
                return Published(staged, path, at)
            with self._change:
                # a newer one of its kind wakes this wait too: it is what is worth the next try
                self._change.wait_for(lambda: self._is_closed or staged.kind in self._waiting, next(waits))
                if self._is_closed:
                    return None
                if staged.kind in self._waiting:
                    _drop(staged)
                    return None

    def _tell_ill(self, error: MXSparkError) -> None:
        """Say at the first failure that all there is to publish is delayed; what is put later is told so by `put`."""
        with self._change:
            if self._ill is None and self._in_hand is not None:
                staged = [self._in_hand, *(waiting for waiting, _at in self._waiting.values())]
                self._outcomes.extend(Delayed(one, error) for one in staged)
            self._ill = error


def settle(publisher: Publisher, collect: Callable[[], None], wait: Callable[[float], None]) -> None:
    """Return once everything is published; `collect` is called with every turn, and takes the outcomes."""
    while publisher.is_busy:
        collect()
        wait(_POLL_S)
    collect()  # the last outcome came after the last turn


def _drop(staged: Staged) -> None:
    shutil.rmtree(staged.path, ignore_errors=True)
