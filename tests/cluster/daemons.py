"""Hadoop's daemons as processes of this one: their jars, their Java, their configuration files."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

POM = Path(__file__).with_name("pom.xml")
JARS = Path.home() / ".cache" / "mxspark-test" / f"hadoop-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
FETCH_S = 600
_JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
    "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true",
    # without its native library Hadoop starts `chmod` for every file that it unpacks: thousands, for a whole Python
    "-Djdk.lang.Process.launchMechanism=VFORK",
)
_PR_SET_PDEATHSIG = 1


class Missing(Exception):
    """This machine lacks something that Hadoop needs; the message says what."""


def fetch_jars() -> Path:
    """Return the folder of Hadoop's jars, fetched by Maven the first time.

    Raises
    ------
    Missing
        If they are not there yet and Maven is not installed.
    """
    if JARS.is_dir():
        return JARS
    maven = shutil.which("mvn")
    if maven is None:
        raise Missing(f"no Hadoop jars in {JARS} and no mvn to fetch them; apt-get install maven")
    JARS.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=JARS.parent) as draft:
        shutil.copy(POM, draft)
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={draft}/jars"]
        done = subprocess.run(
            [maven, "-q", "-B", "-f", f"{draft}/pom.xml", *goal],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=FETCH_S,
        )
        if done.returncode:
            raise RuntimeError(f"mvn could not fetch Hadoop's jars:\n{done.stdout.decode()[-2000:]}")
        try:
            os.rename(f"{draft}/jars", JARS)
        except OSError:  # another run was quicker
            assert JARS.is_dir()
    return JARS


def find_java() -> str:
    """Return the path of java, or raise `Missing`."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise Missing("no java: set JAVA_HOME or put it on the PATH")
    return java


class Daemons:
    """JVMs below one temporary folder; :meth:`stop` ends all and removes it.

    Attributes
    ----------
    folder : Path
        Holds ``conf``, a log a daemon, and what the daemons keep.
    """

    def __init__(self, folder: Path) -> None:
        self._java, self._jars = find_java(), fetch_jars()
        self.folder = folder
        self.conf = folder / "conf"
        self.conf.mkdir(parents=True, exist_ok=True)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def spawn(self, name: str, heap: str, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a daemon; it dies with this process."""
        command = [self._java, f"-Xmx{heap}", *_JVM, "-cp", f"{self.conf}:{self._jars}/*", main, *arguments]
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, preexec_fn=_die_with_parent
            )
        self.processes[name] = process
        return process

    def kill(self, name: str) -> None:
        """Kill one and wait for its end."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(timeout=120)

    def stop(self) -> None:
        """Kill what was started, by pid."""
        for process in self.processes.values():
            process.kill()
        for name in list(self.processes):
            self.kill(name)

    def log(self, name: str) -> Path:
        """Return the file that has a daemon's output."""
        return self.folder / f"{name}.log"

    def check(self) -> None:
        """Raise if a daemon has ended by itself."""
        for name, process in self.processes.items():
            if process.poll():
                raise RuntimeError(f"the {name} ended: {self.log(name).read_text()[-2000:]}")


def write_xml(path: Path, properties: dict[str, object]) -> None:
    """Write a configuration file of Hadoop's."""
    rows = "".join(f"<property><name>{k}</name><value>{v}</value></property>\n" for k, v in properties.items())
    path.write_text(f'<?xml version="1.0"?>\n<configuration>\n{rows}</configuration>\n')


def read_xml(path: Path) -> dict[str, str]:
    """Return what a configuration file of Hadoop's sets."""
    found = ElementTree.parse(path).getroot().iter("property")
    return {row.findtext("name", ""): row.findtext("value", "") for row in found}


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
