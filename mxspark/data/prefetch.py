"""Batches read ahead, in a thread that never touches MXNet's engine."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Optional

from mxspark.data.reader import Batch
from mxspark.errors import InternalError

_STOP_S = 10.0


class Prefetch:
    """Runs an iterator of batches ahead, in a thread of its own.

    Two batches are read ahead, so that one is ready even when the reading thread gets the interpreter late. The queues
    are those written in C: a lock held by a thread that waits for the interpreter would cost milliseconds.

    Attributes
    ----------
    waited_s : float
        Seconds the consumer has waited for a batch.
    """

    AHEAD = 2

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._ready: queue.SimpleQueue[tuple[Optional[Batch], Optional[BaseException]]] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[bool] = queue.SimpleQueue()
        for _ in range(self.AHEAD):
            self._room.put(True)
        self.waited_s = 0.0
        self._thread = threading.Thread(target=self._run, name="mxspark-reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while self._room.get():
                batch = next(self._batches, None)
                self._ready.put((batch, None))
                if batch is None:
                    return
        except BaseException as error:  # handed to the consumer, which raises it
            self._ready.put((None, error))

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches; an exception of the reading thread is raised here."""
        while True:
            start = time.monotonic()
            batch, error = self._ready.get()
            self.waited_s += time.monotonic() - start
            if error is not None:
                raise error
            if batch is None:
                return
            self._room.put(True)
            yield batch

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread; what it has read ahead is dropped."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._room.get_nowait()
        self._room.put(False)
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            raise InternalError(f"the reading thread did not stop within {_STOP_S:g} s")
