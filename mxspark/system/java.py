"""What a java says of itself, and the variables that every java reads and that can keep it from starting."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

OLDEST = 17
"""The oldest that Spark runs with."""
ASK_S = 30.0
"""Longest a ``java -version`` may take."""
VARIABLES = ("_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS")


@dataclass(frozen=True)
class Said:
    """What a java said: whether it started, and its words."""

    started: bool
    text: str


def ask(program: Path, environ: Optional[Mapping[str, str]] = None) -> Said:
    """Let a java start, and return what it says of its version and settings: nothing if it cannot be run."""
    command = [str(program), "-XshowSettings:properties", "-version"]
    try:
        done = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return Said(False, "")
    return Said(done.returncode == 0, done.stderr)


def major(text: str) -> int:
    """Return the major version in a release file or in the settings that java prints: 8 for 1.8, 0 for none."""
    found = re.search(r"(?:JAVA_VERSION=\"|java\.version = )(?:1\.)?(\d+)", text)
    return int(found[1]) if found else 0


def spoilt(program: Path, environ: Mapping[str, str]) -> Optional[str]:
    """Return which variable keeps a java from starting, with the words of the java; None if none does."""
    given = {name: environ[name] for name in VARIABLES if environ.get(name)}
    said = ask(program, environ) if given else None
    if said is None or said.started:
        return None
    if not ask(program, {name: value for name, value in environ.items() if name not in given}).started:
        return None
    lines = [line for line in said.text.splitlines() if line.strip() and not re.match(r"(NOTE: )?Picked up ", line)]
    variables = " and ".join(f"{name}={value!r}" for name, value in given.items())
    return f"Java does not start with {variables}: {lines[0] if lines else 'it says nothing'}; correct it, or unset it"
