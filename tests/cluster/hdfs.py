"""A real HDFS on this machine: one NameNode and one DataNode, each a JVM of its own, with permissions on."""

from __future__ import annotations

import getpass
import json
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from daemons import Daemons, Missing, free_ports, write_xml

__all__ = ["Hdfs", "Missing"]
START_S = 300
_SERVER = "org.apache.hadoop.hdfs.server"
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Hdfs(Daemons):
    """A NameNode and a DataNode below one temporary folder; :meth:`stop` ends both and removes it.

    Attributes
    ----------
    NAME_NODE : str
        Its class.
    uri : str
        ``hdfs://127.0.0.1:<port>``.
    folder : Path
        Holds ``data`` (the blocks), ``name``, ``conf`` and a log a daemon.
    seconds : float
        From the call of :meth:`start` to the first file that can be written.
    """

    NAME_NODE = f"{_SERVER}.namenode.NameNode"

    def __init__(self, folder: Optional[Path] = None) -> None:
        super().__init__(folder or Path(tempfile.mkdtemp(prefix="mxspark-hdfs-")))
        self._rpc, self._http = free_ports(2)
        self.uri = f"hdfs://127.0.0.1:{self._rpc}"
        self.seconds = 0.0

    def start(self) -> None:
        """Format, start both daemons and wait until a block can be written."""
        start = time.monotonic()
        self._configure()
        self.spawn("format", "160m", self.NAME_NODE, "-format", "-nonInteractive", "-force").wait(timeout=START_S)
        del self.processes["format"]
        self.start_name_node()
        self.start_data_node()
        self.wait()
        self.seconds = time.monotonic() - start

    def start_name_node(self) -> None:
        """Start the NameNode, the first time or after it was killed."""
        self.spawn("namenode", "160m", self.NAME_NODE)

    def start_data_node(self) -> None:
        """Start the DataNode, the first time or after it was killed."""
        self.spawn("datanode", "160m", f"{_SERVER}.datanode.DataNode")

    def stop(self) -> None:
        """Kill what was started, by pid, and remove the folder."""
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def blocks(self, size: int) -> list[Path]:
        """Return the DataNode's block files of `size` bytes."""
        return [path for path in (self.folder / "data").rglob("blk_*[0-9]") if path.stat().st_size == size]

    def blocks_being_written(self) -> set[Path]:
        """Return the files of blocks that are not finished."""
        return set((self.folder / "data").rglob("rbw/blk_*"))

    def web(self, method: str, path: str, op: str, user: Optional[str] = None, **options: str) -> bytes:
        """Ask WebHDFS: ``web("PUT", "/user/ann", "SETOWNER", owner="ann")``; without a user as the superuser."""
        query = "&".join(f"{key}={value}" for key, value in options.items())
        url = f"http://127.0.0.1:{self._http}/webhdfs/v1{path}?op={op}&user.name={user or getpass.getuser()}&{query}"
        with _OPENER.open(urllib.request.Request(url, method=method), timeout=30) as answer:
            return bytes(answer.read())

    def make_folder(self, path: str, owner: str, permission: str = "755") -> None:
        """Make a folder that belongs to a user."""
        self.web("PUT", path, "MKDIRS", permission=permission)
        self.web("PUT", path, "SETOWNER", owner=owner)

    def put(self, local_file: Path, path: str, user: str) -> None:
        """Copy a local file to HDFS."""
        url = f"http://127.0.0.1:{self._http}/webhdfs/v1{path}?op=CREATE&user.name={user}&noredirect=true"
        with _OPENER.open(urllib.request.Request(url, method="PUT"), timeout=30) as answer:
            location = json.load(answer)["Location"]
        headers = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(location, local_file.read_bytes(), headers, method="PUT")
        with _OPENER.open(request, timeout=60) as answer:
            answer.read()

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        return self.web("GET", path, "OPEN")

    def list(self, path: str) -> list[str]:
        """Return the names in a folder, nothing if it is not there."""
        try:
            found = json.loads(self.web("GET", path, "LISTSTATUS"))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise
        return [entry["pathSuffix"] for entry in found["FileStatuses"]["FileStatus"]]

    def wait(self) -> None:
        """Wait until a block can be written."""
        self._poll("HDFS", lambda state: state["FSState"] == "Operational" and state["NumLiveDataNodes"] == 1)

    def _poll(self, what: str, there: Callable[[dict[str, Any]], bool]) -> None:
        state: Optional[dict[str, Any]] = None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            self.check()
            state = self._state()
            if state and there(state):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{what} did not come up within {START_S} s; the NameNode says {state}")

    def _configure(self) -> None:
        for name in ("webapps/hdfs", "webapps/datanode"):
            # the jars hold no web pages, and without these folders no daemon starts
            (self.conf / name).mkdir(parents=True)
        write_xml(
            self.conf / "core-site.xml",
            {
                "fs.defaultFS": self.uri,
                "hadoop.tmp.dir": f"{self.folder}/tmp",
                "hadoop.http.staticuser.user": getpass.getuser(),
            },
        )
        write_xml(
            self.conf / "hdfs-site.xml",
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
                "dfs.namenode.heartbeat.recheck-interval": 2000,
                "dfs.datanode.data.dir": f"file://{self.folder}/data",
                "dfs.datanode.address": "127.0.0.1:0",
                "dfs.datanode.ipc.address": "127.0.0.1:0",
                "dfs.datanode.http.address": "127.0.0.1:0",
                "dfs.heartbeat.interval": 1,
                "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER",
            },
        )
        (self.conf / "log4j.properties").write_text(
            "log4j.rootLogger=WARN,err\nlog4j.appender.err=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.err.target=System.err\nlog4j.appender.err.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.err.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n\n"
        )

    def _state(self) -> Optional[dict[str, Any]]:
        query = f"http://127.0.0.1:{self._http}/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
        try:
            with _OPENER.open(query, timeout=2) as answer:
                beans: list[dict[str, Any]] = json.load(answer)["beans"]
        except (OSError, ValueError):
            return None
        return beans[0] if beans else None
