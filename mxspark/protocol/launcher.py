"""The driver's line to the launcher that started it: a folder with what the driver has said, and a terminal.

What a driver prints goes through spark-submit's JVM by default: it stands still when the JVM does, is lost when the JVM
is killed, and is one stream where there were two. So the launcher hands its own standard output and error to the
driver (SCM_RIGHTS, unix(7)).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Union

from mxspark.errors import MXSparkError
from mxspark.system import procfs

VARIABLE = "MXSPARK_LAUNCHER"
"""``<pid of the launcher> <folder>``."""
# Files in the folder.
DRIVER = "driver"
"""Pid of the driver."""
EXIT = "exit"
"""Exit code of the driver."""
JVM = "jvm"
"""Exit code of the driver's JVM, minus a signal, as the launcher has found it."""
GRACE = "grace"
"""``failure.grace_s``, rounded up."""
LEASE = "lease"
"""``failure.lease_s``."""
PROGRESS = "progress"
"""Of a run that owns its job dir: ``run_id``, ``epochs``, ``steps``, ``checkpoint`` and its ``folder``."""
TERMINAL = "terminal"
"""A unix socket: who connects gets the descriptors of the launcher's standard output and error."""
_LIMIT_S = 5.0


def variable(pid: int, folder: Path) -> str:
    """Return what the driver finds in `VARIABLE`."""
    return f"{pid} {folder}"


def write(name: str, value: Union[float, Mapping[str, Any]]) -> None:
    """In the driver: leave something for the launcher, if one has started this process and is still there."""
    folder = _launcher()[1]
    if folder is not None:
        # no folder any more: the launcher has ended, and whoever looks at that (`ended_pid`) ends the run
        with contextlib.suppress(OSError):
            # renamed into its place: the launcher reads it when the driver is dead, killed in this line perhaps
            part = folder / f"{name}.new"
            part.write_text(json.dumps(value))
            part.replace(folder / name)


def report_uncaught() -> None:
    """In a driver script of the user's: leave the exit code of an error of ours that it does not catch."""
    if _launcher()[1] is None or hasattr(sys.excepthook, "_of_mxspark"):
        return
    show = sys.excepthook

    def report(kind: type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        if isinstance(error, MXSparkError):
            write(EXIT, error.exit_code)
        show(kind, error, trace)

    report._of_mxspark = True  # type: ignore[attr-defined]
    sys.excepthook = report


def read(folder: Path, name: str) -> Optional[float]:
    """Return the number that the other side has left, None if none."""
    with contextlib.suppress(OSError, ValueError):
        return float((folder / name).read_text())
    return None


def leave_jvm_code(folder: Path, code: int) -> None:
    """In the launcher: leave how the driver's JVM has ended, which is not the driver's child."""
    part = folder / f"{JVM}.new"
    part.write_text(json.dumps(code))
    part.replace(folder / JVM)


def jvm_code() -> Optional[int]:
    """In the driver: return what the launcher has left of the JVM's end, None if nothing."""
    folder = _launcher()[1]
    code = None if folder is None else read(folder, JVM)
    return None if code is None else int(code)


def read_progress(folder: Path) -> dict[str, Any]:
    """In the launcher: return how far a run has come, as the driver has left it; empty if it has not."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((folder / PROGRESS).read_text()))
    return {}


def ended_pid() -> Optional[int]:
    """In the driver: return the pid of the launcher that started this process, if it has ended since."""
    pid = _launcher()[0]
    return pid if pid is not None and not procfs.is_alive(pid) else None


def is_there() -> bool:
    """In the driver: tell whether a launcher has started this process."""
    return _launcher()[1] is not None


def take_terminal() -> None:
    """In the driver: write to the launcher's output and error from now on; without one to one's own as before."""
    folder = _launcher()[1]
    if folder is None or not (folder / TERMINAL).exists():
        return
    with contextlib.suppress(OSError), short_path(folder) as path, socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_LIMIT_S)
        line.connect(path)
        _, descriptors, _, _ = socket.recv_fds(line, 1, 2)
        if len(descriptors) == 2:
            sys.stdout.flush()  # what was said before belongs to where it was said
            sys.stderr.flush()
            for number, descriptor in zip((1, 2), descriptors):
                os.dup2(descriptor, number)
        for descriptor in descriptors:
            os.close(descriptor)


@contextlib.contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """Give a path of the terminal's socket that is short enough for one: 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{TERMINAL}"
    finally:
        os.close(descriptor)


def _launcher() -> tuple[Optional[int], Optional[Path]]:
    """Return pid and folder of the launcher, None for both if this process was started otherwise."""
    pid, _, folder = os.environ.get(VARIABLE, "").partition(" ")
    return (int(pid), Path(folder)) if folder else (None, None)
