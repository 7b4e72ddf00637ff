"""Checkpoints written beside the training: a copy is taken at once, a thread checks, writes and hashes it.

The thread touches nothing that training uses: the copy is its own, and MXNet's engine makes it in the order of its
queue. So the loop goes on after milliseconds, and what is written is still of one moment.
"""

from __future__ import annotations

import threading
from typing import Callable, Optional, Protocol

from mxspark.mx.runtime.attribution import training_code
from mxspark.protocol import events

_POLL_S = 0.2


class Snapshot(Protocol):
    """All that belongs to a checkpoint, of one moment."""

    def write(self, folder: str) -> events.Staged:
        """Write it into a new folder, and describe that; raises if it is not worth keeping."""


class CheckpointWriter:
    """Writes one checkpoint after the other; what goes wrong is raised in the training loop.

    Parameters
    ----------
    send : callable
        Told, in the thread, what was written.
    """

    def __init__(self, send: Callable[[events.Event], None]) -> None:
        self._send = send
        self._idle = threading.Event()
        self._idle.set()
        self._error: Optional[BaseException] = None

    def begin(self, folder: str, copy: Snapshot) -> None:
        """Have a copy written; the one before must be."""
        # Cleared here and not in the thread, which may not have started yet when the loop next waits for it.
        self._idle.clear()
        # A daemon: a worker that ends for another reason must not wait for a slow disk.
        threading.Thread(target=self._write, args=(folder, copy), name="mxspark-checkpoint", daemon=True).start()

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            with training_code():
                raise self._error

    def wait(self, beat: Callable[[], None]) -> None:
        """Return once nothing is being written, calling `beat` now and then; raises what went wrong."""
        while not self._idle.wait(_POLL_S):
            beat()  # without one a large checkpoint on a slow disk would be taken for a worker that hangs
        self.check()

    def _write(self, folder: str, copy: Snapshot) -> None:
        try:
            self._send(copy.write(folder))
        except BaseException as error:  # nobody looks at this thread: the loop raises it, at its next step or wait
            self._error = error
        finally:
            # After the error is set: whoever waits looks at that next.
            self._idle.set()
