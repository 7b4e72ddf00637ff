"""Every supported pair of Python and pyspark trains the digits through ``submit.sh``, in an environment of its own."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Optional

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLDEST, NEWEST = ("3.9", "3.5.9"), ("3.12", "4.3.0")
BETWEEN = [("3.9", "4.0.5"), ("3.11", "3.5.9"), ("3.11", "4.3.0")]


def interpreter(version: str) -> Optional[str]:
    """Return a Python of that version: on the PATH, or one that pyenv keeps."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # HOME may be one made for the tests
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions"
    kept = [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python3"))]
    found = [path for path in (shutil.which(f"python{version}"),) if path and "shims" not in path]
    return next(iter([*found, *kept]), None)


@pytest.mark.first
@pytest.mark.parametrize(
    ("python", "pyspark"), [OLDEST, NEWEST, *(pytest.param(*pair, marks=pytest.mark.long) for pair in BETWEEN)]
)
def test_a_supported_pair_trains_the_digits(tmp_path: Path, python: str, pyspark: str, nothing_left: None) -> None:
    program = interpreter(python)
    if program is None:
        pytest.skip(f"there is no Python {python} on this machine")
    first = tmp_path / "bin"
    first.mkdir()
    (first / "python3").write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    (first / "python3").chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYSPARK", "SPARK"))},
        "PATH": f"{first}{os.pathsep}{os.environ['PATH']}",
        "MXSPARK_PYSPARK": pyspark,
    }
    result = tmp_path / "result.json"
    command = [
        str(ROOT / "submit.sh"), "spark_jobs/train.py", "--config", "conf/digits.yaml",
        "--set", f"job.dir={tmp_path / 'job'}", "--result", str(result),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-4000:]
    outcome = json.loads(result.read_text())
    assert outcome["metrics"]["validation"]["last"]["accuracy"] >= 0.97
    assert outcome["epochs"] == 10
