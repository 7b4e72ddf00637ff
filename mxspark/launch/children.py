"""Own a spark-submit and everything below it: pass signals on, wait, leave nothing running."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from mxspark.errors import ClusterError

STOP_S = 15.0
"""From the first signal until everything is killed; after a SIGTERM the time for a last checkpoint comes on top."""
SAME_S = 1.0
"""A signal so soon after the first is the same one: ``timeout`` and shells send it to the process and to its group."""
LEFTOVER_S = 3.0
"""What is still there when spark-submit has ended may end by itself for so long."""
KILL_S = 5.0
"""Longest wait for what has been sent a SIGKILL."""
FRESH_S = 60.0
"""A younger folder may not have been locked yet by the start that made it."""
_SCRATCH = "mxspark-start-"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class SparkSubmit:
    """A spark-submit in a session of its own.

    Ctrl-C reaches this process alone and goes to the Python driver, not to the JVM: with a JVM that shuts down beside
    it the driver could neither cancel its Spark job nor save a checkpoint.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    environ : Mapping of str to str
        Its environment; the driver writes its pid to the file ``MXSPARK_DRIVER_PID_FILE`` and its exit code to
        ``MXSPARK_EXIT_FILE``, and how long a last checkpoint may take to ``MXSPARK_GRACE_FILE``, which are added here.

    Attributes
    ----------
    signal : int
        The signal that stopped it, 0 if none did.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = environ
        self.signal = 0
        self._signalled, self._deadline = 0.0, float("inf")

    def run(self, folder: Path) -> int:
        """Run it to its end and return the exit code for this process.

        The driver's own code if it wrote one; else 128 + the signal that stopped it, 0 after a success and 4 otherwise.

        Parameters
        ----------
        folder : Path
            An empty folder for these files.
        """
        # orphans become our children: even one that left the session can be found and ended
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        watched = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            watched.add(signal.SIGHUP)
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        child = self._start(folder)
        status = self._wait(child, watched, folder / "driver")
        self._clear(LEFTOVER_S if status is not None else 0.0)
        return self._code(status, folder / "exit")

    def _start(self, files: Path) -> int:
        """Start spark-submit and return its pid."""
        environ = dict(self._environ)
        environ.update(MXSPARK_DRIVER_PID_FILE=str(files / "driver"), MXSPARK_EXIT_FILE=str(files / "exit"))
        environ.update(MXSPARK_GRACE_FILE=str(files / "grace"))
        launcher = os.getpid()

        def prepare() -> None:
            # a launcher that is killed cannot stop anybody: the JVM then gets a SIGTERM from the kernel
            _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != launcher:
                os._exit(1)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])

        try:
            process = subprocess.Popen(self._command, env=environ, stdin=subprocess.DEVNULL, preexec_fn=prepare,
                                       start_new_session=True)  # fmt: skip
        except OSError as error:
            raise ClusterError(f"cannot run {self._command[0]}: {error}; check SPARK_HOME") from error
        process.returncode = 0  # reaped in _reap, among all others
        return process.pid

    def _wait(self, child: int, watched: set[signal.Signals], driver_file: Path) -> Optional[int]:
        """Wait for spark-submit to end; None when the time after a signal has run out, or a second one came."""
        while time.monotonic() < self._deadline:
            status = _reap().get(child)
            if status is not None:
                return status
            got = signal.sigtimedwait(watched, min(1.0, self._deadline - time.monotonic()))
            if got is None or got.si_signo == signal.SIGCHLD:
                continue
            if self.signal:
                if time.monotonic() > self._signalled + SAME_S:
                    return None
                continue
            self.signal, self._signalled = got.si_signo, time.monotonic()
            self._deadline = self._signalled + STOP_S + self._grace_s(driver_file.with_name("grace"))
            print("\nmxspark: stopping; a second Ctrl-C kills", file=sys.stderr, flush=True)
            self._pass_on(driver_file)
        return None

    def _grace_s(self, file: Path) -> float:
        """Return how long the driver may take for a last checkpoint: none after a Ctrl-C, or before there is one."""
        with contextlib.suppress(OSError, ValueError):
            return float(file.read_text()) if self.signal == signal.SIGTERM else 0.0
        return 0.0

    def _pass_on(self, driver_file: Path) -> None:
        """Send the signal to the driver, or SIGTERM to all while there is no driver yet."""
        below = descendants()
        with contextlib.suppress(OSError, ValueError):
            driver = int(driver_file.read_text())
            if driver in below:
                os.kill(driver, signal.SIGINT if self.signal == signal.SIGINT else signal.SIGTERM)
                return
        _send(below, signal.SIGTERM)

    def _clear(self, grace_s: float) -> None:
        """Wait for what is left, then kill it; say who survives even that."""
        for limit_s, kill in ((grace_s, False), (KILL_S, True)):
            deadline = time.monotonic() + limit_s
            while True:
                left = descendants()
                if not left:
                    return
                if time.monotonic() > deadline:
                    break
                if kill:
                    _send(left, signal.SIGKILL)
                signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        print(f"mxspark: still running after SIGKILL: pids {sorted(left)}", file=sys.stderr, flush=True)

    def _code(self, status: Optional[int], exit_file: Path) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(exit_file.read_text())
        if self.signal:
            return 128 + self.signal
        if status is not None and os.WIFSIGNALED(status):
            return 128 + os.WTERMSIG(status)
        return 0 if status == 0 else ClusterError.exit_code


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder for one start, and remove it at the end together with those of starts that were killed."""
    top = Path(tempfile.gettempdir())
    for old in top.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):  # another user's, or in use: locked by its owner for as long as that lives
            if time.time() - old.stat().st_mtime > FRESH_S:
                held = _lock(old)
                shutil.rmtree(old, ignore_errors=True)
                os.close(held)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as folder:
        held = _lock(Path(folder))
        try:
            yield Path(folder)
        finally:
            os.close(held)


def _lock(folder: Path) -> int:
    """Lock a folder of our own and return its descriptor; raises OSError when somebody has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@dataclass(frozen=True)
class _Stat:
    """One line of the process table."""

    pid: int
    parent: int
    state: str


def descendants() -> set[int]:
    """Reap what has ended and return the pids of all living processes below this one."""
    _reap()
    children: dict[int, list[_Stat]] = {}
    for stat in _processes():
        children.setdefault(stat.parent, []).append(stat)
    found: set[int] = set()
    front = [os.getpid()]
    while front:
        for stat in children.get(front.pop(), []):
            front.append(stat.pid)
            if stat.state not in "ZX":
                found.add(stat.pid)
    return found


def _processes() -> list[_Stat]:
    table = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                # the name in parentheses may hold anything, parentheses and spaces too
                state, parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
                table.append(_Stat(int(name), int(parent), state))
    return table


def _reap() -> dict[int, int]:
    """Collect every child that has ended: pid to wait status."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            ended[pid] = status
    return ended


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
