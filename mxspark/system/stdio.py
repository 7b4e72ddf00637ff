"""Output that nobody may read any more (``| head``, a closed terminal) and that must not end a training."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, TextIO, cast


class ProtectedStream:
    """A text stream that raises nothing: from the first write that fails on, its descriptor leads to nowhere.

    As the Python documentation advises on SIGPIPE: what is left in a buffer would fail again when the process ends.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or do not."""
        try:
            return self._stream.write(text)
        except OSError:
            self._redirect_to_nowhere()
            return len(text)

    def flush(self) -> None:
        """Flush, or do not."""
        try:
            self._stream.flush()
        except OSError:
            self._redirect_to_nowhere()

    def _redirect_to_nowhere(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's own."""
        return getattr(self._stream, name)


def protected(stream: TextIO) -> TextIO:
    """Return a stream that nobody has to read."""
    return stream if isinstance(stream, ProtectedStream) else cast(TextIO, ProtectedStream(stream))


def protect_output() -> None:
    """For a command line: let standard output and error outlast whoever reads them."""
    sys.stdout, sys.stderr = protected(sys.stdout), protected(sys.stderr)


def log_to(path: Path) -> None:
    """Let this agent's own words, and a traceback if it comes to that, go to a file, not to the starter's terminal."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 2)
    os.close(fd)
