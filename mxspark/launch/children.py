"""Own a spark-submit and everything below it: pass signals on, wait, leave nothing running."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional

from mxspark.errors import ClusterError
from mxspark.errors.cause import Cause, describe_exit
from mxspark.launch.signals import hold
from mxspark.launch.terminal import Terminal
from mxspark.protocol import launcher as launcher_line
from mxspark.system import prctl, procfs
from mxspark.system.procfs import Stillness

STOP_S = 15.0
"""From the first signal until everything is killed; after a SIGTERM the time for a last checkpoint comes on top."""
SAME_S = 1.0
"""A signal so soon after the first is the same one: ``timeout`` and shells send it to the process and to its group."""
LEFTOVER_S = 3.0
"""What is still there when spark-submit has ended may end by itself for so long."""
LEASE_S = 30.0
"""``failure.lease_s`` as long as the driver has not told it."""
KILL_S = 5.0
"""Longest wait for what has been sent a SIGKILL."""
FRESH_S = 60.0
"""A younger folder may not have been locked yet by the start that made it."""
_SCRATCH = "mxspark-start-"


class SparkSubmit:
    """A spark-submit in a session of its own.

    Ctrl-C reaches this process alone and goes to the Python driver, not to the JVM: with a JVM that shuts down beside
    it the driver could neither cancel its Spark job nor save a checkpoint.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    environ : Mapping of str to str
        Its environment; what the driver needs to talk to this process (:mod:`mxspark.protocol.launcher`) is added here.
    is_ours : bool
        Whether the script is one of mxspark's, which says how it ended. One of the user's ends as any program does.

    Attributes
    ----------
    signal : int
        The signal that stopped it, 0 if none did.
    has_driver_reported : bool
        Whether the driver has said how it ended.
    cause : Cause or None
        Why it ended, where the driver has not.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], is_ours: bool = True) -> None:
        self._command = command
        self._environ = environ
        self._is_ours = is_ours
        self.signal = 0
        self.has_driver_reported = False
        self.cause: Optional[Cause] = None
        self._still = Stillness()
        self._others: frozenset[int] = frozenset()
        self._signalled = 0.0
        self._deadline = float("inf")

    def run(self, folder: Path) -> int:
        """Run it to its end and return the exit code for this process.

        The driver's own code if it left one; else 128 + the signal that stopped it, 0 after a success, that of a script
        of the user's, and 4 otherwise.

        Parameters
        ----------
        folder : Path
            An empty private folder.
        """
        # orphans become our children: even one that left the session can be found and ended
        prctl.adopt_orphans()
        # of the shell that has become this process: what reads ``> >(tee log)``
        self._others = frozenset(found.pid for found in procfs.below(os.getpid()))
        # blocked before the child is there: a signal that comes in between waits for _wait, and is not lost
        watched = {signal.SIGCHLD, *hold()}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        with Terminal(folder):
            child = self._start(folder)
            status = self._wait(child, watched, folder)
            # inside the `with`: until all are gone somebody may want to say something on our terminal
            self._clear(self._leftover_s(status), _driver(folder))
        return self._code(child, status, folder)

    def _start(self, folder: Path) -> int:
        """Start spark-submit and return its pid, which is that of its JVM."""
        launcher = os.getpid()
        environ = {**self._environ, launcher_line.VARIABLE: launcher_line.variable(launcher, folder)}

        def prepare() -> None:
            # a launcher that is killed cannot stop anybody: the JVM then gets a SIGTERM from the kernel
            prctl.die_with(launcher, by=signal.SIGTERM)
            # ignored and blocked signals are inherited: a driver would never see its Ctrl-C
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])

        try:
            process = subprocess.Popen(self._command, env=environ, stdin=subprocess.DEVNULL, preexec_fn=prepare,
                                       start_new_session=True)  # fmt: skip
        except OSError as error:
            raise ClusterError(f"cannot run {self._command[0]}: {error}; check SPARK_HOME") from error
        process.returncode = 0  # reaped in _reap, among all others
        return process.pid

    def _wait(self, child: int, watched: set[signal.Signals], folder: Path) -> Optional[int]:
        """Wait for spark-submit to end; None when the time for that has run out, or a second signal came."""
        while time.monotonic() < self._deadline:
            status = _reap().get(child)
            if status is not None:
                launcher_line.leave_jvm_code(folder, os.waitstatus_to_exitcode(status))
                return status
            # a second at most: that a driver stands still comes with no signal
            got = signal.sigtimedwait(watched, max(0.0, min(1.0, self._deadline - time.monotonic())))
            # nor is it a signal when CPython has met a SIGCONT at the very end of its wait
            if got is None or got.si_signo == signal.SIGCHLD or got.si_signo not in watched:
                self._kill_what_stands_still(child, folder)
            elif not self.signal:
                self._stop(signal.Signals(got.si_signo), folder)
            elif time.monotonic() > self._signalled + SAME_S:
                return None
        return None

    def _stop(self, number: signal.Signals, folder: Path) -> None:
        """Send the first signal on to the driver, or a SIGTERM to all while there is no driver yet."""
        self.signal, self._signalled = int(number), time.monotonic()
        # a last checkpoint takes its time; none is made after a Ctrl-C
        grace_s = launcher_line.read(folder, launcher_line.GRACE) if number != signal.SIGINT else None
        self._deadline = self._signalled + STOP_S + (grace_s or 0.0)
        again = "Ctrl-C" if number == signal.SIGINT else number.name
        print(f"\nmxspark: stopping; a second {again} kills", file=sys.stderr, flush=True)
        below, driver = self._descendants(), _driver(folder)
        # to the driver alone: it needs the JVM and the executors for its last checkpoint. Its pid counts only if it is
        # below us: it was read from a file, and may be another process's by now
        if driver in below:
            _send({driver}, signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
        else:
            _send(below, signal.SIGTERM)

    def _kill_what_stands_still(self, jvm: int, folder: Path) -> None:
        """Kill the driver, or its JVM, if it has been stopped by a signal for longer than a lease; the rest then ends.

        A driver that runs notices its JVM by itself, and says more; it is given the time.
        """
        lease_s = launcher_line.read(folder, launcher_line.LEASE) or LEASE_S
        for role, pid, limit_s in (("driver", _driver(folder), lease_s), ("jvm", jvm, lease_s + STOP_S)):
            still_s = self._still.seconds(pid) if pid and self.cause is None else 0.0
            if still_s > limit_s:
                words = f"stopped by a signal for {still_s:.0f} s (failure.lease_s = {lease_s:g} s), and then killed"
                self.cause = Cause.here("stopped", role, words, pid=pid, signal="SIGSTOP")
                # what is left then ends by itself, as after every killed driver; if not, it has this long
                self._deadline = min(self._deadline, time.monotonic() + STOP_S)
                _send({pid}, signal.SIGKILL)

    def _leftover_s(self, status: Optional[int]) -> float:
        """Return how long what is left when spark-submit has ended may take to end by itself."""
        # a driver whose JVM somebody has killed still has its roles to end, and to say so
        if status is None:
            return 0.0
        return STOP_S if os.WIFSIGNALED(status) and self.cause is None else LEFTOVER_S

    def _clear(self, grace_s: float, driver: int) -> None:
        """Wait for what is left, then kill the driver, then all; say who survives even that.

        JVM and agents see the end of the driver, and remove files that nobody else knows of.
        """
        # in this order, as each one cleans up when it sees that the one above it has gone: a JVM removes its files, an
        # agent its roles and sockets. Killed all at once nobody would be left to do it
        for limit_s, kill in ((grace_s, set()), (LEFTOVER_S, {driver}), (KILL_S, None)):
            deadline = time.monotonic() + limit_s
            while True:
                left = self._descendants()
                if not left:
                    return
                _send(left if kill is None else left & kill, signal.SIGKILL)
                # one that is stopped will never end by itself: no use in waiting the grace out
                stands_still = kill == set() and procfs.state(driver) == procfs.STOPPED
                if time.monotonic() > deadline or stands_still:
                    break
                signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        print(f"mxspark: still running after SIGKILL: pids {sorted(left)}", file=sys.stderr, flush=True)

    def _descendants(self) -> set[int]:
        """Reap what has ended and return the pids of all living processes that this one has brought about."""
        _reap()
        return {found.pid for found in procfs.below(os.getpid(), but=self._others) if found.is_alive}

    def _code(self, jvm: int, status: Optional[int], folder: Path) -> int:
        """Return the exit code; where the driver left none, find out what has become of it."""
        left = launcher_line.read(folder, launcher_line.EXIT)
        self.has_driver_reported = left is not None
        if left is not None:
            self.cause = None
            return int(left)
        # before all causes: after a Ctrl-C a driver that was killed while it ended is no failure of its own
        if self.signal:
            self.cause = None
            return 128 + self.signal
        if status == 0 and self.cause is None:
            return 0
        if status is not None and self.cause is None:
            self.cause = _killed(jvm, status, _driver(folder))
            if self.cause is None and not self._is_ours:
                return os.WEXITSTATUS(status)  # spark-submit ends with that of the script
        return ClusterError.exit_code


def _driver(folder: Path) -> int:
    """Return the pid of the driver, 0 as long as it has not said it."""
    return int(launcher_line.read(folder, launcher_line.DRIVER) or 0)


def _killed(jvm: int, status: int, driver: int) -> Optional[Cause]:
    """Return the cause if spark-submit's JVM was killed, or a driver that ended without having said how."""
    if os.WIFSIGNALED(status):
        _, name, words = describe_exit(-os.WTERMSIG(status))
        return Cause.here("killed", "jvm", words, pid=jvm, signal=name)
    if not driver:
        return None  # a script of the user's, or Spark has said what it lacks
    code = os.WEXITSTATUS(status)  # spark-submit ends with that of the driver, 128 + n after a signal
    exit_code, name, words = describe_exit(128 - code if code > 128 else code)
    return Cause.here("killed", "driver", words, pid=driver, exit_code=exit_code, signal=name)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder for one start, and remove it at the end together with those of starts that were killed."""
    top = Path(tempfile.gettempdir())
    for old in top.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):  # another user's, or in use: locked by its owner for as long as that lives
            if time.time() - old.stat().st_mtime > FRESH_S:
                # no pid in its name, which may be another process's by now: the kernel drops a lock with its owner
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


def _reap() -> dict[int, int]:
    """Collect every child that has ended: pid to wait status."""
    # all, not only our child: orphans are ours as their subreaper, and would stay as zombies
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
