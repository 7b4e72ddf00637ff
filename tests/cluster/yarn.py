"""A real YARN on this machine: one ResourceManager and two NodeManagers, on 127.0.0.2 and 127.0.0.3."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

from daemons import Daemons, free_ports, write_xml
from hdfs import Hdfs

START_S = 300
NODES = ("127.0.0.2", "127.0.0.3")
#: Of the tests' cluster: what is too large for the second node is on the first.
NODES_MB = (6144, 4096)
_SERVER = "org.apache.hadoop.yarn.server"
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Yarn(Daemons):
    """A ResourceManager and two NodeManagers beside an HDFS, whose configuration folder they complete.

    Parameters
    ----------
    hdfs : Hdfs
        Already started, or started beside.
    memory_mb : tuple of int
        Of each node.

    Attributes
    ----------
    conf : Path
        ``HADOOP_CONF_DIR`` of the cluster.
    seconds : float
        From the call of :meth:`start` until both NodeManagers are there.
    """

    def __init__(self, hdfs: Hdfs, memory_mb: tuple[int, int] = (6144, 6144)) -> None:
        super().__init__(hdfs.folder)
        self.hdfs, self.seconds = hdfs, 0.0
        self._memory_mb = memory_mb
        self._ports = free_ports(5)
        self._web = f"http://127.0.0.1:{self._ports[-1]}/ws/v1/cluster"

    def start(self) -> None:
        """Start all three and wait until both nodes can run containers."""
        start = time.monotonic()
        self._configure()
        self.start_resource_manager()
        for number in range(len(NODES)):
            self.start_node(number)
        self.wait()
        self.seconds = time.monotonic() - start

    def start_resource_manager(self) -> None:
        """Start the ResourceManager, the first time or after it was killed."""
        self.spawn("resourcemanager", "256m", f"{_SERVER}.resourcemanager.ResourceManager")

    def start_node(self, number: int) -> None:
        """Start a NodeManager, the first time or after it was killed."""
        folders = {kind: self.folder / f"node{number}" / kind for kind in ("local", "logs")}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "address": f"{NODES[number]}:0",
            "localizer.address": f"{NODES[number]}:0",
            "webapp.address": f"{NODES[number]}:0",
            "collector-service.address": f"{NODES[number]}:0",
            "local-dirs": folders["local"],
            "log-dirs": folders["logs"],
            "resource.memory-mb": self._memory_mb[number],
        }
        given = [f"-Dyarn.nodemanager.{key}={value}" for key, value in settings.items()]
        self.spawn(f"nodemanager{number}", "192m", f"{_SERVER}.nodemanager.NodeManager", *given)

    def ask(self, path: str) -> Any:
        """Return what the ResourceManager's web service says."""
        with _OPENER.open(f"{self._web}/{path}", timeout=10) as answer:
            return json.load(answer)

    def applications(self) -> list[dict[str, Any]]:
        """Return all applications, the newest first."""
        found = (self.ask("apps") or {}).get("apps") or {}
        return sorted(found.get("app", []), key=lambda app: str(app["id"]), reverse=True)

    def kill_application(self, application: str) -> None:
        """Do what ``yarn application -kill`` does."""
        request = urllib.request.Request(
            f"{self._web}/apps/{application}/state",
            b'{"state": "KILLED"}',
            {"Content-Type": "application/json"},
            method="PUT",
        )
        with _OPENER.open(request, timeout=10) as answer:
            answer.read()

    def logs(self, application: str) -> str:
        """Return the end of each file that an application's containers wrote, for a failed test to show."""
        texts = []
        for path in sorted(self.folder.glob(f"node*/logs/{application}/*/*")):
            if path.is_file() and path.stat().st_size:
                texts.append(f"--- {path.parent.name}/{path.name}\n{path.read_text(errors='replace')[-6000:]}")
        return "\n".join(texts)

    def wait(self, nodes: int = len(NODES)) -> None:
        """Wait until so many nodes can run containers."""
        deadline = time.monotonic() + START_S
        seen: Any = None
        while time.monotonic() < deadline:
            self.check()
            try:
                seen = self.ask("metrics")["clusterMetrics"]["activeNodes"]
            except (OSError, ValueError):
                seen = None
            if seen == nodes:
                return
            time.sleep(0.1)
        raise RuntimeError(f"YARN did not come up within {START_S} s; nodes: {seen}")

    def _configure(self) -> None:
        names = ("address", "scheduler.address", "resource-tracker.address", "admin.address", "webapp.address")
        addresses = {f"yarn.resourcemanager.{name}": f"127.0.0.1:{port}" for name, port in zip(names, self._ports)}
        write_xml(
            self.conf / "yarn-site.xml",
            {
                "yarn.resourcemanager.hostname": "127.0.0.1",
                **addresses,
                "yarn.resourcemanager.scheduler.class": f"{_SERVER}.resourcemanager.scheduler.capacity"
                ".CapacityScheduler",
                "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": 200,
                "yarn.resourcemanager.connect.retry-interval.ms": 500,
                "yarn.resourcemanager.nm.liveness-monitor.interval-ms": 1000,
                "yarn.nm.liveness-monitor.expiry-interval-ms": 10_000,
                # the application master's container unpacks the environment first, and that counts
                "yarn.am.liveness-monitor.expiry-interval-ms": 180_000,
                "yarn.scheduler.minimum-allocation-mb": 64,
                "yarn.scheduler.maximum-allocation-mb": max(self._memory_mb),
                "yarn.nodemanager.resource.cpu-vcores": 8,
                "yarn.nodemanager.vmem-check-enabled": "false",
                "yarn.nodemanager.pmem-check-enabled": "true",
                # by default it is left to cgroups, even where there are none
                "yarn.nodemanager.resource.memory.enforced": "false",
                "yarn.nodemanager.container-monitor.interval-ms": 500,
                "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": 99.5,
                "yarn.nodemanager.sleep-delay-before-sigkill.ms": 250,
                # TMPDIR marks what belongs to one run of the tests
                "yarn.nodemanager.env-whitelist": "JAVA_HOME,HADOOP_CONF_DIR,PATH,LANG,TZ,TMPDIR,SPARK_LOCAL_IP",
                "yarn.log-aggregation-enable": "false",
                "yarn.application.classpath": "",
            },
        )
        queue = "yarn.scheduler.capacity"
        write_xml(
            self.conf / "capacity-scheduler.xml",
            {
                f"{queue}.root.queues": "default",
                f"{queue}.root.default.capacity": 100,
                f"{queue}.root.default.state": "RUNNING",
                f"{queue}.maximum-am-resource-percent": 0.8,
                f"{queue}.node-locality-delay": -1,
            },
        )


def variables(yarn: Yarn, user: str) -> dict[str, str]:
    """Return the environment of a client of the cluster."""
    return {
        **os.environ,
        "HADOOP_CONF_DIR": str(yarn.conf),
        "HADOOP_USER_NAME": user,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "127.0.0.1",
    }


def make_users(hdfs: Hdfs, *users: str) -> None:
    """Give users their home folders, and everybody a ``/tmp``."""
    hdfs.make_folder("/tmp", "root", "1777")
    for user in users:
        hdfs.make_folder(f"/user/{user}", user)


def folder_of(path: str) -> Path:
    """Return the given folder, which must be new or empty."""
    folder = Path(path).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    return folder
