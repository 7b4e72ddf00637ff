"""What a task can find out of its place, as an agent and its roles would meet it. Runs in the task's own process."""

from __future__ import annotations

import importlib
import json
import os
import platform
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Optional

from mxspark.check.findings import Built, Disk
from mxspark.errors.cause import describe_exit
from mxspark.system import prctl, process_tree
from mxspark.topology import identity
from mxspark.version import __version__

PACKAGES = ("mxspark", "mxnet", "numpy", "pyarrow", "pandas", "cloudpickle", "pyspark")
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TAIL, _KILL_S = 2000, 5.0
_TAG = "MXSPARK_CHECK"  # in the environment of the process that builds the network, and of what that starts


def versions() -> dict[str, str]:
    """Return the versions of the packages a job needs, "" for those that are not there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = _version(name)
        except (ImportError, metadata.PackageNotFoundError):
            found[name] = ""
    return found


def _version(name: str) -> str:
    if name == "mxspark":
        return __version__
    if name == "pyspark":  # it may come as a zip, about which nothing is recorded
        return str(importlib.import_module(name).__version__)
    return metadata.version(name)


def python_version() -> str:
    """Return this interpreter's version."""
    return platform.python_version()


def socket_trouble() -> str:
    """Return why a role could not bind its socket, "" if it could."""
    path = identity.SOCKET_FOLDER / f"mxspark-check-{secrets.token_hex(8)}"
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
        path.unlink()
    except OSError as error:
        return f"no socket can be bound at {path}: {error.strerror or error}"
    return ""


def memory_trouble() -> str:
    """Return why an agent could not make memory for its worker to share, "" if it could."""
    try:
        descriptor = os.memfd_create("mxspark-check")
        try:
            os.ftruncate(descriptor, 2**20)
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"no memory can be shared (memfd_create): {error.strerror or error}"
    return ""


def disk(folder: Path) -> Disk:
    """Return what a local folder of Spark has room for."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="mxspark-check-") as file:
            file.write(b"probe")
        return Disk(str(folder), shutil.disk_usage(folder).free)
    except OSError as error:
        return Disk(str(folder), 0, f"nothing can be written: {error.strerror or error}")


def limit(name: str) -> int:
    """Return a soft limit of this process, such as ``NOFILE``; -1 for none."""
    soft = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
    return -1 if soft == resource.RLIM_INFINITY else soft


def ports() -> tuple[int, ...]:
    """Return the range that local ports are drawn from."""
    try:
        return tuple(int(word) for word in _PORTS.read_text().split())
    except (OSError, ValueError):
        return (32768, 60999)  # the kernel's own


def build(order: str, sys_path: Sequence[str], environment: Mapping[str, str], limit_s: float) -> Built:
    """Have a process like a worker's import MXNet and, if told to, build the job's network.

    Parameters
    ----------
    order : str
        What :mod:`mxspark.mx.check` reads.
    environment : mapping
        Variables the job names for its roles.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment, "PYTHONPATH": os.pathsep.join(sys_path)}
    try:
        # files, no pipes: what the user's code starts inherits them, and may outlive the process that is waited for
        with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as words:
            code = _ended(order, answer, words, variables, limit_s)
            if code is None:
                took = "importing MXNet and building the network took"
                return Built(trouble=f"{took} more than {limit_s:g} s (failure.start_s)", late=True)
            answer.seek(0)
            try:
                return Built(**json.load(answer))
            except (ValueError, TypeError):
                words.seek(max(0, words.seek(0, os.SEEK_END) - _TAIL))
                said = words.read(_TAIL).decode("utf-8", "replace").strip()
                return Built(trouble=f"the process {describe_exit(code)[2]}: {said}")
    except OSError as error:
        return Built(trouble=f"{sys.executable} cannot be started: {error}")


def _ended(
    order: str, answer: IO[bytes], words: IO[bytes], environment: Mapping[str, str], limit_s: float
) -> Optional[int]:
    """Run the process to its end, and end what it has started; return its exit code, None if it took too long."""
    task, tag = os.getpid(), secrets.token_hex(8)
    with subprocess.Popen(
        [sys.executable, "-m", "mxspark.mx.check", str(answer.fileno())],
        stdin=subprocess.PIPE, stdout=words, stderr=words, pass_fds=[answer.fileno()],
        env={**environment, _TAG: tag}, preexec_fn=lambda: prctl.bind_to(task),
    ) as popen:  # fmt: skip
        try:
            popen.communicate(order.encode(), timeout=limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process_tree.kill_tagged(_TAG, tag, set(), _KILL_S)
    return popen.returncode
