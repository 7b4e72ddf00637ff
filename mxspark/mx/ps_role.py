"""Scheduler and sum-only server without Python's MXNet: the C library alone, ready in a fraction of a second.

ps-lite forms the group inside ``MXKVStoreRunServer``, which returns when every role of the group has left it. While it
runs, a second thread of a server waits for the rank: ps-lite publishes it as the environment variable ``DMLC_RANK``.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib.util
import os
import signal
import sys
import threading
import time
from pathlib import Path

from mxspark.protocol import events
from mxspark.protocol.channel import Channel
from mxspark.protocol.specs import CHANNEL

RANK_VARIABLE = b"DMLC_RANK"
NO_RANK = b"-1"
POLL_S = 0.01
_Controller = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def find_library() -> Path:
    """Return the path of ``libmxnet.so`` without importing the package around it.

    Raises
    ------
    FileNotFoundError
        If MXNet is not installed for this Python.
    """
    found = importlib.util.find_spec("mxnet")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder, "libmxnet.so")
        if path.exists():
            return path
    raise FileNotFoundError(f"no libmxnet.so on the module path; is mxnet installed for {sys.executable}? {sys.path}")


def refuse(head: int, body: bytes) -> None:
    """Log a command of a peer and do nothing: stock servers would unpickle it."""
    print(f"mxspark: command {head} refused, it begins with {body[:40]!r}", file=sys.stderr, flush=True)


def main() -> None:
    """Be the role that the environment names, until the group ends."""
    began = time.monotonic()
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    channel = Channel.from_fd(int(os.environ[CHANNEL]))
    # Present from the start, so that ps-lite replaces the value and never moves the table of variables under a reader.
    os.environb[RANK_VARIABLE] = NO_RANK
    library = ctypes.CDLL(str(find_library()), ctypes.RTLD_LOCAL)
    library.MXGetLastError.restype = ctypes.c_char_p
    handle = ctypes.c_void_p()
    _check(library, library.MXKVStoreCreate(b"dist", ctypes.byref(handle)))
    channel.send(events.to_wire(events.Loaded(time.monotonic() - began)))
    if os.environ["DMLC_ROLE"] == "server":  # the scheduler has no rank to wait for
        threading.Thread(target=_report_rank, args=(channel, began), daemon=True).start()
    # Everything a group of workers needs of a server (sums, barriers, sync mode) is handled below this callback.
    controller = _Controller(lambda head, body, _handle: refuse(head, body or b""))
    _check(library, library.MXKVStoreRunServer(handle, controller, None))
    sys.stderr.flush()
    os._exit(0)  # static destructors of the library can wait for peers that are gone


def _report_rank(channel: Channel, began: float) -> None:
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    while (rank := getenv(RANK_VARIABLE)) in (NO_RANK, None):
        time.sleep(POLL_S)
    channel.send(events.to_wire(events.Formed(int(rank), time.monotonic() - began)))


def _check(library: ctypes.CDLL, status: int) -> None:
    if status != 0:
        raise RuntimeError(f"MXNet: {library.MXGetLastError().decode('utf-8', 'replace')}")
