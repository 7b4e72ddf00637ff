"""One role process: how it is started so that it cannot outlive its agent, and what is left of it afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Optional

from mxspark.protocol import codec
from mxspark.protocol.specs import CHANNEL, INHERITED, Inherited, RoleSpec
from mxspark.system.prctl import bind_to

SYS_PATH_VARIABLE = "MXSPARK_SYS_PATH"
KEPT_VARIABLES = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
KEPT_PREFIX = "LC_"
# A worker runs the user's code and gets a whole interpreter; the thin roles start quicker without the site module.
FLAGS = {"worker": ("-I", "-u"), "server": ("-I", "-S", "-u"), "scheduler": ("-I", "-S", "-u")}
BOOT = (
    "import importlib, json, os, sys; given = json.loads(os.environ['MXSPARK_SYS_PATH']); "
    "sys.path[:] = given + [path for path in sys.path if path not in given]; "
    "module, _, name = sys.argv[1].partition(':'); sys.exit(getattr(importlib.import_module(module), name)())"
)
LOG_LIMIT, LOG_KEPT = 64 * 2**20, 2**20


@dataclass(frozen=True)
class Settings:
    """What all roles of one agent have in common."""

    python: str
    sys_path: tuple[str, ...]
    environment: Mapping[str, str]
    log_dir: Path
    log_prefix: str
    entries: Mapping[str, str]
    log_suffix: str = ""

    def of_attempt(self, number: int) -> Settings:
        """Return the settings of an attempt, whose logs have names of their own."""
        return replace(self, log_suffix=f".attempt-{number}" if number > 1 else "")


@dataclass
class RoleProcess:
    """A started role."""

    spec: RoleSpec
    popen: subprocess.Popen[bytes]
    log: Path
    channel: socket.socket

    @property
    def name(self) -> str:
        """Return ``worker-0`` and the like."""
        return f"{self.spec.role}-{self.spec.rank}"

    @property
    def pid(self) -> int:
        """Return its process id, which is its process group too."""
        return self.popen.pid


def base_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the few variables a process needs to live."""
    return {
        name: value for name, value in environment.items() if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIX)
    }


def start(spec: RoleSpec, settings: Settings, inherited: Optional[Inherited] = None) -> RoleProcess:
    """Start a role. Call from the main thread: the kernel ends the role when that *thread* ends.

    Raises
    ------
    OSError
        If no process could be started.
    """
    ours, theirs = socket.socketpair()
    log = settings.log_dir / f"{settings.log_prefix}{spec.role}-{spec.rank}{settings.log_suffix}.log"
    log.unlink(missing_ok=True)
    agent = os.getpid()
    try:
        with theirs, open(log, "ab") as output:
            _write_limit(output)
            popen = subprocess.Popen(
                [
                    settings.python,
                    *FLAGS[spec.role],
                    "-c",
                    BOOT,
                    settings.entries[spec.role],
                    f"{spec.role}-{spec.rank}",
                ],
                env=_environment(spec, settings, theirs.fileno(), inherited),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(), *(inherited.descriptors() if inherited else ())),
                preexec_fn=lambda: bind_to(agent),
            )
    except BaseException:
        ours.close()
        raise
    return RoleProcess(spec, popen, log, ours)


def _environment(spec: RoleSpec, settings: Settings, channel: int, inherited: Optional[Inherited]) -> dict[str, str]:
    extra = {} if inherited is None else {INHERITED: json.dumps(codec.encode(inherited))}
    return {
        **extra,
        **settings.environment,
        **spec.environment,
        SYS_PATH_VARIABLE: json.dumps(settings.sys_path),
        CHANNEL: str(channel),
    }


def _write_limit(output: IO[bytes]) -> None:
    """Say in the log if a limit on address space stays, which looks like a lack of memory later."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        # as the role will try; root may not be allowed to either, in a container
        resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        output.write(
            f"mxspark: this process may map {hard} bytes at most (RLIMIT_AS); "
            "spark.executor.pyspark.memory sets such a limit, raise or remove it\n".encode()
        )
        output.flush()


def kill(process: RoleProcess) -> None:
    """End a role and its process group at once. Call before the role is reaped: its number is then still its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def tail(path: Path, max_bytes: int, max_lines: Optional[int] = None) -> str:
    """Return the end of a log, whatever bytes it holds."""
    try:
        with open(path, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - max_bytes))
            text = log.read(max_bytes).decode("utf-8", "replace")
    except OSError as error:
        return f"(no log: {error})"
    lines = text.splitlines(keepends=True)
    return "".join(lines if max_lines is None else lines[-max_lines:])


def trim(path: Path) -> None:
    """Cut a log that is too long down to its beginning and its end; the role that writes it goes on at the new end."""
    with contextlib.suppress(OSError):
        size = os.stat(path).st_size
        if size <= LOG_LIMIT:
            return
        with open(path, "rb") as log:
            head = log.read(LOG_KEPT)
            log.seek(size - LOG_KEPT)
            tail = log.read(LOG_KEPT)
        os.truncate(path, 0)
        with open(path, "ab") as log:
            dropped = size - len(head) - len(tail)
            log.write(head + b"\nmxspark: %d bytes of this log are dropped here\n" % dropped + tail)
