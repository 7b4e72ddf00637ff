"""Output that nobody may read any more (``| head``, a closed terminal) and that must not end a training."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, TextIO, cast


class Lasting:
    """A text stream; from the first write that fails on, its descriptor leads to nowhere.

    As the Python documentation advises on SIGPIPE: what is left in a buffer would fail again when the process ends.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or do not."""
        try:
            return self._stream.write(text)
        except OSError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        """Flush, or do not."""
        try:
            self._stream.flush()
        except OSError:
            self._let_go()

    def _let_go(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's own."""
        return getattr(self._stream, name)


def lasting(stream: TextIO) -> TextIO:
    """Return a stream that lasts."""
    return stream if isinstance(stream, Lasting) else cast(TextIO, Lasting(stream))


def make_ours_last() -> None:
    """For a command line: let standard output and error last."""
    sys.stdout, sys.stderr = lasting(sys.stdout), lasting(sys.stderr)


def log_to(path: Path) -> None:
    """Let this agent's own words, and a traceback if it comes to that, go to a file, not to the starter's terminal."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 2)
    os.close(fd)
