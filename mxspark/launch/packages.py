"""Packages of the user's beside those of the environment: ``--requirements FILE``, for jobs and for ``--exec``.

``python -m mxspark.launch.packages FILE COMMAND...`` installs them and becomes the command.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from mxspark.errors import ClusterError, InputError, MXSparkError
from mxspark.launch.environment import Environment, only_one
from mxspark.launch.installer import Progress

ROOT = Path(__file__).resolve().parents[2]


def folder(environment: Environment, requirements: str, progress: Progress) -> Path:
    """Return the folder of the packages of a requirements file, installed the first time.

    What the environment has already is left out, and stays in the version that it has: MXNet runs with that one.
    """
    try:
        wanted = Path(requirements).read_bytes()
    except OSError as error:
        raise InputError(f"--requirements {requirements}: {error.strerror}; name a file that can be read") from error
    here = _installed()
    key = hashlib.sha256("\0".join([sys.version, *here]).encode() + wanted).hexdigest()[:12]
    place = environment.store / f"packages-{key}"
    if place.exists():
        return place
    with only_one(environment.store):
        if not place.exists():
            progress.phase(f"installing {requirements}")
            _install(environment, Path(requirements), here, place, progress)
            progress.done()
    return place


def variables(place: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables with which Python finds the packages, and the shell their commands."""
    paths = {"PYTHONPATH": place, "PATH": place / "bin"}
    return {name: os.pathsep.join(filter(None, [str(path), environ.get(name, "")])) for name, path in paths.items()}


def _installed() -> list[str]:
    """Return what this environment has, as lines of a lock."""
    site = [entry for entry in sys.path if Path(entry).is_relative_to(sys.prefix)]
    found = {f"{_plain(dist.metadata['Name'])}=={dist.version}" for dist in metadata.distributions(path=site)}
    return sorted(line for line in found if not line.startswith("mxspark=="))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _install(environment: Environment, wanted: Path, here: Sequence[str], place: Path, progress: Progress) -> None:
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    constraints, lock, missing = (part / f"{name}.txt" for name in ("constraints", "lock", "missing"))
    constraints.write_text("\n".join(here))
    uv = environment.uv(progress)
    try:
        uv("pip", "compile", "--quiet", "--python", sys.executable, "--constraints", str(constraints), "--no-header",
           "--no-annotate", "--output-file", str(lock), str(wanted))  # fmt: skip
    except ClusterError as error:
        if "No solution found" not in error.message:
            raise
        raise InputError(
            f"--requirements {wanted} does not go with the packages of {sys.prefix}, which MXNet and Spark need in the "
            f"versions they have; change what is named here:\n{error.message}"
        ) from error
    kept = [line for line in lock.read_text().splitlines() if line.strip() and line.split(" ;")[0].strip() not in here]
    missing.write_text("\n".join(kept))
    if kept:
        uv("pip", "install", "--quiet", "--python", sys.executable, "--compile-bytecode", "--no-deps",
           "--target", str(part), "--requirement", str(missing))  # fmt: skip
    part.rename(place)


def main() -> int:
    """Install, and become the command; returns only when that fails."""
    requirements, *command = sys.argv[1:]
    try:
        place = folder(Environment.wanted(ROOT, os.environ), requirements, Progress("packages of yours"))
    except MXSparkError as error:
        print(f"mxspark: {error.message}", file=sys.stderr)
        return error.exit_code
    os.environ.update(variables(place, os.environ))
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        print(f"mxspark: there is no command {command[0]!r}; check the name", file=sys.stderr)
        return InputError.exit_code


if __name__ == "__main__":
    sys.exit(main())
