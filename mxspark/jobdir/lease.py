"""The lease of a job dir: shows that its owner lives, and finds out when it is another's, or gone."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Optional, Union

from mxspark.errors import JobDirRemoved, MXSparkError, TakenOver
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.ownership import TOUCHES, release, touch

log = logging.getLogger(__name__)

LOOK_S = 5.0
_CLOSE_S = 1.0


class Lease:
    """A thread that touches the term's file and looks for newer terms; use as a context manager.

    Parameters
    ----------
    job_dir : JobDir
        Owned by this run, whose `lease_s` says how often.
    """

    def __init__(self, job_dir: JobDir) -> None:
        self._job_dir = job_dir
        self._touch_s = job_dir.run.lease_s / TOUCHES
        # often enough that the gang has its end behind it when the lease is over
        self._look_s = min(LOOK_S, self._touch_s / 2)
        self._closed = threading.Event()
        self._lost: Optional[Union[TakenOver, JobDirRemoved]] = None
        self._thread = threading.Thread(target=self._run, name="mxspark-lease", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: Optional[type[BaseException]], _error: Optional[BaseException], _: Optional[TracebackType]
    ) -> None:
        self._closed.set()
        self._thread.join(_CLOSE_S)
        if not self._thread.is_alive():  # else the storage hangs, and would hang us too
            release(self._job_dir.storage, self._job_dir.path, self._job_dir.term, self._job_dir.run)

    def ensure_held(self) -> None:
        """Return as long as the job dir was seen to be there and nobody else to own it.

        Raises
        ------
        TakenOver
            Naming who does.
        JobDirRemoved
            If it is gone.
        """
        if self._lost is not None:
            raise self._lost

    def sleep(self, seconds: float) -> None:
        """Sleep, but :meth:`ensure_held` all the while."""
        until = time.monotonic() + seconds
        self.ensure_held()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(0.2, left))
            self.ensure_held()

    def _run(self) -> None:
        touched = time.monotonic()
        is_well = True
        while not self._closed.wait(self._look_s):
            try:
                # looked at first: a touch of a term that is not the newest any more would tell others that we live on
                self._job_dir.check_owner()
                # half a look early rather than half a look late: looks are that far apart
                if time.monotonic() - touched > self._touch_s - self._look_s / 2:
                    # the time before the call: a storage that takes long must not make the next touch late
                    touched = time.monotonic()
                    touch(self._job_dir.storage, self._job_dir.path, self._job_dir.term)
                is_well = True
            except (TakenOver, JobDirRemoved) as error:
                # raised by the driver's thread when it next asks; raised here nobody would see it
                self._lost = error
                log.warning("%s", error.message)
                return
            except (OSError, MXSparkError) as error:
                # a storage that is ill keeps others from taking over too; no reason to end the training
                if is_well:
                    log.warning("the lease of %s cannot be kept for now: %s", self._job_dir.path, error)
                is_well = False
