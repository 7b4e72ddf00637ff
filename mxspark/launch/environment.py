"""The private Python environment of a checkout: which one is wanted, and making it once."""

from __future__ import annotations

import compileall
import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mxspark.errors import ClusterError, InputError
from mxspark.launch.bytecode import compile_archives
from mxspark.launch.installer import INSTALL_S, Progress, Uv
from mxspark.launch.spark_home import without_spark
from mxspark.system import users

OLDEST, BEYOND = (3, 9), (3, 13)
WAIT_S = INSTALL_S
"""Longest wait for another start that is making an environment of the same checkout."""


def check_platform() -> None:
    """Refuse what MXNet's wheels do not run on.

    Raises
    ------
    InputError
        The system is not Linux x86-64, or the Python is none of 3.9 to 3.12.
    """
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise InputError(f"this is {system} on {machine}; MXNet 1.9.1 runs on Linux on x86-64 only: use such a machine")
    if not OLDEST <= sys.version_info < BEYOND:
        raise InputError(
            f"{sys.executable} is Python {platform.python_version()}; mxspark needs 3.9 to 3.12: put one on the PATH"
        )


def check_user() -> None:
    """Refuse a user whom the system has no name for.

    Raises
    ------
    InputError
        As Spark would, with a stack of Java's.
    """
    trouble = users.nameless()
    if trouble:
        raise InputError(trouble)


@dataclass(frozen=True)
class Environment:
    """A Python environment, made or yet to be made.

    Attributes
    ----------
    root : Path
        The checkout it is for.
    path : Path
        Where it is; its name changes with everything that it is made of.
    requirements : str
        Exact versions of what goes into it, one a line; empty for an environment of the user's own.
    """

    root: Path
    path: Path
    requirements: str

    @classmethod
    def wanted(cls, root: Path, environ: Mapping[str, str], dev: bool = False) -> Environment:
        """Choose the environment for this Python.

        Parameters
        ----------
        root : Path
            The checkout.
        environ : Mapping of str to str
            ``MXSPARK_PYSPARK`` asks for another pyspark release than the lock's, ``MXSPARK_ENVIRONMENT`` for an
            environment that exists.
        dev : bool
            With the test and lint tools.
        """
        given = environ.get("MXSPARK_ENVIRONMENT")
        if given:
            if not os.access(Path(given) / "bin/python", os.X_OK):
                raise InputError(
                    f"MXSPARK_ENVIRONMENT={given}: it has no bin/python that this user may run; name a virtual "
                    "environment"
                )
            return cls(root, Path(given).absolute(), "")
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        lock = (root / f"conf/locks/py{version}{'-dev' if dev else ''}.txt").read_text()
        requirements = with_pyspark(lock, environ.get("MXSPARK_PYSPARK", ""))
        # the interpreter and the checkout count: the environment points at both
        parts = (requirements, os.path.realpath(sys.executable), str(root))
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
        return cls(root, root / f".mxspark/env-{version}{'-dev' if dev else ''}-{key}", requirements)

    @property
    def store(self) -> Path:
        """Folder of everything that is made once for the checkout."""
        return self.root / ".mxspark"

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.path / "bin/python"

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables for a command that runs in it."""
        variables = {key: value for key, value in environ.items() if key != "PYTHONHOME"}
        variables.update(
            PATH=f"{self.path / 'bin'}{os.pathsep}{environ.get('PATH', os.defpath)}",
            VIRTUAL_ENV=str(self.path),
            MXSPARK_ENVIRONMENT=str(self.path),
            PYSPARK_PYTHON=str(self.python),
        )
        if "PYTHONPATH" in environ:
            variables["PYTHONPATH"] = without_spark(environ["PYTHONPATH"])
        return variables

    def uv(self, progress: Progress) -> Uv:
        """Return the installer of this checkout."""
        return Uv(self.store, (self.root / "conf/locks/uv.txt").read_text(), os.environ, progress)

    def make(self) -> None:
        """Make the environment unless it is there.

        It is made under another name and renamed at the end: one that was interrupted never counts.
        """
        if self.path.exists():
            return
        with only_one(self.store):
            if self.path.exists():
                return
            progress = Progress(f"making a Python {self.path.name.split('-')[1]} environment (once)")
            part = self.path.with_name(self.path.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            try:
                self._install(part, self.uv(progress))
                part.rename(self.path)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            progress.done()

    def _install(self, part: Path, uv: Uv) -> None:
        """Fill the folder, bytecode included: compiling at the first import costs each process seconds."""
        # --relocatable: scripts that find their Python beside them survive the renaming
        uv("venv", "--quiet", "--relocatable", "--python", os.path.realpath(sys.executable), str(part))
        python = part / "bin/python"
        wanted = part / "requirements.txt"
        wanted.write_text(self.requirements)
        build = self.root / "conf/locks/build.txt"
        uv("pip", "install", "--python", str(python), "--requirement", str(wanted), "--build-constraints", str(build),
           "--compile-bytecode")  # fmt: skip
        site = next(part.glob("lib/python*/site-packages"))
        (site / "mxspark-checkout.pth").write_text(f"{self.root}\n")
        compileall.compile_dir(self.root / "mxspark", quiet=2)
        compile_archives(site, self.path / site.relative_to(part))


def with_pyspark(lock: str, release: str) -> str:
    """Return the lock with another release of pyspark in it; the py4j pin goes, each pyspark names its own."""
    if not release:
        return lock
    if not re.fullmatch(r"(3\.5|4\.\d+)\.\d+", release):
        raise InputError(f"MXSPARK_PYSPARK={release}: name a full release of the 3.5 or 4 series, for instance 3.5.9")
    kept = [line for line in lock.splitlines() if not re.match(r"(pyspark|py4j)==", line)]
    return "\n".join([*kept, f"pyspark=={release}", ""])


@contextlib.contextmanager
def only_one(store: Path) -> Iterator[None]:
    """Hold the lock of a checkout; a second start waits, and finds the work done."""
    with _lock_file(store) as lock:
        deadline = time.monotonic() + WAIT_S
        said = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"another start has held {store / 'lock'} for {WAIT_S:.0f} s; end it ('fuser {store / 'lock'}' "
                        "names it), then start again"
                    ) from None
            if not said:
                print("mxspark: waiting for another start that is making the environment", file=sys.stderr, flush=True)
            said = True
            time.sleep(0.2)
        yield


def _lock_file(store: Path) -> IO[str]:
    """Open the file that is locked while something is made in a store, which is made if need be.

    Raises
    ------
    InputError
        Nothing can be made there by this user.
    """
    try:
        store.mkdir(exist_ok=True)
        if not os.access(store, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open(store / "lock", "w")
    except OSError as error:
        owner = users.name_of((store if store.exists() else store.parent).stat().st_uid)
        user = users.name_of(os.geteuid())
        raise InputError(
            f"{store} belongs to {owner} and {user} cannot write to it ({error.strerror}), but what this start needs "
            f"is not in it yet; let {owner} run the same command once, with --exec true in the place of the script and "
            f"the same Python ({sys.executable}), or set MXSPARK_ENVIRONMENT to an environment of yours with the "
            "packages of setup.cfg"
        ) from error
