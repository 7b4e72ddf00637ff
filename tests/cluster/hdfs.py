"""A real HDFS on this machine: one NameNode and one DataNode, each a JVM of its own, with permissions on."""

from __future__ import annotations

import ctypes
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Optional

HADOOP = "3.5.0"
JARS = Path.home() / ".cache" / "mxspark-test" / f"hadoop-{HADOOP}"
POM = Path(__file__).with_name("pom.xml")
START_S, FETCH_S = 90, 600
_SERVER = "org.apache.hadoop.hdfs.server"
_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", "-Xshare:auto", "-Djava.net.preferIPv4Stack=true")
_PR_SET_PDEATHSIG = 1


class Missing(Exception):
    """This machine lacks something that HDFS needs; the message says what."""


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
        command = [
            maven,
            "-q",
            "-B",
            "-f",
            f"{draft}/pom.xml",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
        ]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={draft}/jars"],
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


class Hdfs:
    """A NameNode and a DataNode below one temporary folder; :meth:`stop` ends both and removes it.

    Attributes
    ----------
    uri : str
        ``hdfs://127.0.0.1:<port>``.
    folder : Path
        Holds ``data`` (the blocks), ``name``, ``conf`` and a log a daemon.
    seconds : float
        From the call of :meth:`start` to the first file that can be written.
    """

    def __init__(self) -> None:
        self._java, self._jars = find_java(), fetch_jars()
        self.folder = Path(tempfile.mkdtemp(prefix="mxspark-hdfs-"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._rpc, self._http = _free_ports(2)
        self.uri = f"hdfs://127.0.0.1:{self._rpc}"
        self.seconds = 0.0

    def start(self) -> None:
        """Format, start both daemons and wait until a block can be written."""
        start = time.monotonic()
        self._configure()
        name_node = f"{_SERVER}.namenode.NameNode"
        self._spawn("format", name_node, "-format", "-nonInteractive", "-force").wait(timeout=START_S)
        self._spawn("namenode", name_node)
        self._spawn("datanode", f"{_SERVER}.datanode.DataNode")
        self._wait(start + START_S)
        self.seconds = time.monotonic() - start

    def stop(self) -> None:
        """Kill what was started, by pid, and remove the folder."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(timeout=30)
        shutil.rmtree(self.folder)

    def blocks(self, size: int) -> list[Path]:
        """Return the DataNode's block files of `size` bytes."""
        return [path for path in (self.folder / "data").rglob("blk_*[0-9]") if path.stat().st_size == size]

    def _configure(self) -> None:
        conf = self.folder / "conf"
        for name in ("webapps/hdfs", "webapps/datanode"):
            # the jars hold no web pages, and without these folders no daemon starts
            (conf / name).mkdir(parents=True)
        _write_xml(
            conf / "core-site.xml",
            {
                "fs.defaultFS": self.uri,
                "hadoop.tmp.dir": f"{self.folder}/tmp",
                "hadoop.http.staticuser.user": getpass.getuser(),
            },
        )
        _write_xml(
            conf / "hdfs-site.xml",
            {
                "dfs.replication": 1,
                "dfs.permissions.enabled": "true",
                "dfs.permissions.superusergroup": "nobody-at-all",
                "dfs.namenode.rpc-address": f"127.0.0.1:{self._rpc}",
                "dfs.namenode.http-address": f"127.0.0.1:{self._http}",
                "dfs.namenode.name.dir": f"file://{self.folder}/name",
                "dfs.namenode.safemode.extension": 0,
                "dfs.namenode.datanode.registration.ip-hostname-check": "false",
                "dfs.namenode.edits.noeditlogchannelflush": "true",
                "dfs.datanode.data.dir": f"file://{self.folder}/data",
                "dfs.datanode.address": "127.0.0.1:0",
                "dfs.datanode.ipc.address": "127.0.0.1:0",
                "dfs.datanode.http.address": "127.0.0.1:0",
                "dfs.heartbeat.interval": 1,
            },
        )
        (conf / "log4j.properties").write_text(
            "log4j.rootLogger=WARN,err\nlog4j.appender.err=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.err.target=System.err\nlog4j.appender.err.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.err.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n\n"
        )

    def _spawn(self, name: str, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [self._java, "-Xmx160m", *_JVM, "-cp", f"{self.folder}/conf:{self._jars}/*", main, *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, preexec_fn=_die_with_parent
            )
        self._processes[name] = process
        return process

    def _wait(self, deadline: float) -> None:
        state: Optional[dict[str, Any]] = None
        while time.monotonic() < deadline:
            for name in ("namenode", "datanode"):
                if self._processes[name].poll() is not None:
                    raise RuntimeError(f"the {name} ended: {(self.folder / f'{name}.log').read_text()[-2000:]}")
            state = self._state()
            if state and state["FSState"] == "Operational" and state["NumLiveDataNodes"] == 1:
                return
            time.sleep(0.1)
        raise RuntimeError(f"HDFS did not come up within {START_S} s; the NameNode says {state}")

    def _state(self) -> Optional[dict[str, Any]]:
        query = f"http://127.0.0.1:{self._http}/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(query, timeout=2) as answer:
                beans: list[dict[str, Any]] = json.load(answer)["beans"]
        except (OSError, ValueError):
            return None
        return beans[0] if beans else None


def _write_xml(path: Path, properties: dict[str, object]) -> None:
    rows = "".join(f"<property><name>{k}</name><value>{v}</value></property>\n" for k, v in properties.items())
    path.write_text(f'<?xml version="1.0"?>\n<configuration>\n{rows}</configuration>\n')


def _free_ports(count: int) -> list[int]:
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
