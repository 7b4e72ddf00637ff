"""A real HDFS with two NameNodes, of which one is active: no ZooKeeper, whoever tests says which."""

from __future__ import annotations

import shutil
from typing import Any

from daemons import free_ports, read_xml, write_xml
from hdfs import START_S, Hdfs

SERVICE = "pair"
NODES = ("nn1", "nn2")


class Pair(Hdfs):
    """Two NameNodes that share their edits through a folder, and a DataNode that knows both.

    Attributes
    ----------
    uri : str
        ``hdfs://pair``, for clients that have `settings`.
    settings : dict of str to str
        What a client needs to find the active one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.uri = f"hdfs://{SERVICE}"
        ports = dict(zip(NODES, zip(free_ports(2), free_ports(2))))
        self.settings = {
            "dfs.nameservices": SERVICE,
            f"dfs.ha.namenodes.{SERVICE}": ",".join(NODES),
            f"dfs.client.failover.proxy.provider.{SERVICE}": "org.apache.hadoop.hdfs.server.namenode.ha"
            ".ConfiguredFailoverProxyProvider",
            **{f"dfs.namenode.rpc-address.{SERVICE}.{name}": f"127.0.0.1:{rpc}" for name, (rpc, _) in ports.items()},
        }
        self._https = {name: http for name, (_, http) in ports.items()}
        self._http = self._https["nn1"]

    def start(self) -> None:
        """Start both NameNodes and the DataNode; the first one is active."""
        self._configure()
        self._tool("format", self.NAME_NODE, "-Ddfs.ha.namenode.id=nn1", "-format", "-nonInteractive", "-force")
        shutil.copytree(self.folder / "name-nn1", self.folder / "name-nn2")
        for name in NODES:
            self.spawn(name, "160m", self.NAME_NODE, f"-Ddfs.ha.namenode.id={name}")
        self.start_data_node()
        self.activate("nn1")

    def activate(self, name: str) -> None:
        """Let a NameNode be the active one, and wait until a block can be written."""
        self._http = self._https[name]
        self._poll("the NameNode", lambda state: True)
        self._tool("haadmin", "org.apache.hadoop.hdfs.tools.DFSHAAdmin", "-transitionToActive", "--forceactive", name)
        self.wait()

    def _tool(self, name: str, main: str, *arguments: str) -> None:
        process = self.spawn(name, "160m", main, *arguments)
        del self.processes[name]
        assert process.wait(timeout=START_S) == 0, self.log(name).read_text()

    def _configure(self) -> None:
        super()._configure()
        plain: dict[str, Any] = read_xml(self.conf / "hdfs-site.xml")
        for key in ("rpc-address", "http-address", "name.dir"):
            del plain[f"dfs.namenode.{key}"]
        for name in NODES:
            plain[f"dfs.namenode.http-address.{SERVICE}.{name}"] = f"127.0.0.1:{self._https[name]}"
            plain[f"dfs.namenode.name.dir.{SERVICE}.{name}"] = f"file://{self.folder}/name-{name}"
        shared = {"dfs.namenode.shared.edits.dir": f"file://{self.folder}/edits", "dfs.ha.tail-edits.period": "1s"}
        write_xml(self.conf / "hdfs-site.xml", {**plain, **self.settings, **shared})
