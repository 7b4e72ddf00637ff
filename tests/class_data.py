"""How Spark's JVMs are started in tests: with an archive of the classes they load (JEP 350), in about half the time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

TESTS = Path(__file__).resolve().parent
CACHE = Path.home() / ".cache" / "mxspark-test"
_QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_LIMIT_S = 1200.0


def spark_submit_options() -> str:
    """Return what ``SPARK_SUBMIT_OPTS`` may be; the first time an archive is made, by training the digits once."""
    version = subprocess.run([_java(), "-version"], capture_output=True, check=True).stderr
    key = hashlib.sha256(b"\0".join([version, pyspark.__file__.encode(), pyspark.__version__.encode()]))
    archive = CACHE / f"spark-{key.hexdigest()[:12]}.jsa"
    if not archive.exists():
        with _only_one():
            if not archive.exists():  # another worker may have made it meanwhile
                _make(archive)
    # a JVM of another Spark or Java does without it, and need not say so
    return (
        f"{_QUICK} -XX:SharedArchiveFile={archive} -Xlog:disable -Xlog:all=error:stderr" if archive.exists() else _QUICK
    )


@contextmanager
def _only_one() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def _make(archive: Path) -> None:
    part = CACHE / f"{archive.name}.{os.getpid()}"
    environment = {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SUBMIT_OPTS": f"{_QUICK} -XX:ArchiveClassesAtExit={part}",
    }
    with tempfile.TemporaryDirectory() as folder:
        job = ["--config", "conf/digits.yaml", "--set", f"job.dir={folder}/job"]
        # the JVM writes the archive after its driver has ended: its output is read to the end
        try:
            subprocess.run(
                [sys.executable, "-m", "mxspark", "train", "--master", "local[2]", *job],
                cwd=TESTS.parent, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S,
            )  # fmt: skip
            part.rename(archive)
        except (OSError, subprocess.TimeoutExpired):  # only slower without; why it cannot train, the tests will show
            part.unlink(missing_ok=True)
