"""Hand this process's standard output and error to the driver, which spark-submit starts without them."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from mxspark.protocol import launcher


class Terminal:
    """A unix socket in a private folder; whoever connects gets the two descriptors. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        # a file system without sockets; the driver then writes through spark-submit's JVM
        with contextlib.suppress(OSError), launcher.short_path(folder) as path:
            self._socket.bind(path)
            self._socket.listen()

    def __enter__(self) -> Terminal:
        """Serve, in a thread that ends with the process."""
        threading.Thread(target=self._serve, name="mxspark-terminal", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Serve nobody any more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closes it

    def _serve(self) -> None:
        with self._socket, contextlib.suppress(OSError):
            while True:
                line, _ = self._socket.accept()
                with line, contextlib.suppress(OSError):
                    socket.send_fds(line, [b"."], [1, 2])
