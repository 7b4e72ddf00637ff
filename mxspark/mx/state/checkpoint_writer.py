"""Checkpoints written beside the training: a copy is taken at once, a thread checks, writes and hashes it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Callable, Optional

from mxnet import gluon

from mxspark.mx.runtime.attribution import training_code
from mxspark.mx.state import checkpoint_files
from mxspark.mx.state.optimizer import Updater
from mxspark.protocol import events

_POLL_S = 0.2


class Stager:
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

    def begin(
        self, folder: str, params: Mapping[str, gluon.Parameter], updater: Updater, meta: Mapping[str, Any]
    ) -> None:
        """Take a copy of all that belongs to a checkpoint and have it written; the one before must be written."""
        with training_code():
            # MXNet's engine makes the copies, after the updates that are out and before those to come
            copy = checkpoint_files.snapshot(params, updater, meta)
        self._idle.clear()
        threading.Thread(target=self._write, args=(folder, copy), name="mxspark-stager", daemon=True).start()

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            with training_code():
                raise self._error

    def wait(self, beat: Callable[[], None]) -> None:
        """Return once nothing is being written, calling `beat` now and then; raises what went wrong."""
        while not self._idle.wait(_POLL_S):
            beat()
        self.check()

    def _write(self, folder: str, copy: checkpoint_files.Snapshot) -> None:
        try:
            self._send(checkpoint_files.write(folder, copy))
        except BaseException as error:
            self._error = error
        finally:
            self._idle.set()
