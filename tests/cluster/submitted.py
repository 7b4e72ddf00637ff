"""Jobs that ``submit.sh`` sends to the YARN of the tests, which the tests may disturb."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Optional

import psutil
import yaml
from hdfs import Hdfs
from spark.drivers import LIMIT_S, ROOT, TESTS, running, wait_for
from spark.jobs import DIGITS, digits
from yarn import NODES, NODES_MB, Yarn, variables

_QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SMALL = {
    "spark.executor.instances": "2",
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
    "spark.executor.memoryOverhead": "700m",
    "spark.driver.memory": "700m",
    "spark.yarn.am.memory": "400m",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.ui.enabled": "false",
    # JVMs that run for seconds
    **{f"spark.{which}.extraJavaOptions": _QUICK for which in ("executor", "driver", "yarn.am")},
}
#: The master is too large for the second node, and the only executor may not go there.
ONE_NODE = {
    "spark.yarn.am.memoryOverhead": f"{NODES_MB[1]}m",
    "spark.yarn.exclude.nodes": NODES[1],
    "spark.executor.instances": "1",
    "spark.executor.cores": "2",
    "spark.executor.memoryOverhead": "1000m",
}


class Submitted:
    """A ``submit.sh`` at work, for the user ``ann``.

    Parameters
    ----------
    shipped : str
        What is packed and sent: ``nothing`` (the nodes use Spark and Python of this process), ``python``, ``all``.
    moment : str
        Where the workers stop until the test opens the gate; see `spark.gates`.
    requirements : Path, optional
        Packages to send with the Python.
    confs : mapping
        Of Spark, laid over `SMALL`.
    """

    def __init__(
        self,
        folder: Path,
        yarn: Yarn,
        name: str,
        mode: str,
        shipped: str,
        moment: str = "none",
        requirements: Optional[Path] = None,
        confs: Mapping[str, str] = MappingProxyType({}),
        **sections: Any,
    ) -> None:
        import pyspark

        folder.mkdir(exist_ok=True)
        self.folder, self.yarn, self.result_file = folder, yarn, folder / "result.json"
        self.gates = folder / "gates"
        self.gates.mkdir(exist_ok=True)
        job = digits(Path(f"runs/{name}"), **sections)
        job["data"]["path"] = "digits.parquet"
        job["training"] |= {"network": "spark.gates:network", "metrics": ["spark.gates:gate"]}
        job["training"] |= sections.get("training", {})
        environment = sections.get("cluster", {}).get("environment", {})
        job["cluster"]["environment"] = {"GATE_FOLDER": str(self.gates), "GATE_MOMENT": moment, **environment}
        job["report"]["progress"] = "lines"
        (folder / "job.yaml").write_text(yaml.safe_dump(job))
        confs = {**SMALL, **confs}
        options = []
        if shipped != "all":
            confs["spark.yarn.jars"] = f"local:{Path(pyspark.__file__).parent}/jars/*"
        if shipped == "nothing":
            options = ["--python", sys.executable]
        if requirements is not None:
            options = ["--requirements", str(requirements)]
        for key, value in confs.items():
            options += ["--conf", f"{key}={value}"]
        command = [str(ROOT / "submit.sh"), "--master", "yarn", "--deploy-mode", mode, *options]
        command += [str(ROOT / "spark_jobs/train.py"), "--config", str(folder / "job.yaml")]
        command += ["--result", str(self.result_file)]
        self.log_file = folder / "submit.log"
        self.before = {app["id"] for app in yarn.applications()}
        with self.log_file.open("w") as log:
            self.popen = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=TESTS, start_new_session=True,
                env={**variables(yarn, "ann"), "MXSPARK_ENVIRONMENT": sys.prefix},
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def application(self) -> Optional[dict[str, Any]]:
        """Return what YARN says of this run's application."""
        return next((app for app in self.yarn.applications() if app["id"] not in self.before), None)

    def reached(self) -> None:
        """Wait until both workers stand at the gate."""
        wait_for(
            "the gate",
            lambda: self.popen.poll() is not None or len(list(self.gates.glob("reached-*"))) >= 2,
            LIMIT_S,
        )
        assert self.popen.poll() is None, self.explain()

    def roles(self) -> list[psutil.Process]:
        """Return this run's role processes."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("GATE_FOLDER") == str(self.gates) and running(process.pid):
                    found.append(process)
        return found

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the end and return the exit code."""
        return self.popen.wait(limit_s)

    def explain(self) -> str:
        """Return all there is to read, for a failed test."""
        application = self.application
        return self.log + (self.yarn.logs(application["id"]) if application else "")

    def outcome(self) -> dict[str, Any]:
        return dict(json.loads(self.result_file.read_text()))


@contextmanager
def submitted(folder: Path, yarn: Yarn, *arguments: Any, **sections: Any) -> Iterator[Submitted]:
    """Submit a job, and end what is left of it whatever the test does."""
    run = Submitted(folder, yarn, *arguments, **sections)
    try:
        yield run
    finally:
        application = run.application
        if application is not None and application["state"] not in ("FINISHED", "FAILED", "KILLED"):
            yarn.kill_application(application["id"])
        with contextlib.suppress(psutil.Error):
            for child in [*psutil.Process(run.popen.pid).children(recursive=True), psutil.Process(run.popen.pid)]:
                child.kill()
        run.popen.wait(60)


def with_digits(hdfs: Hdfs) -> None:
    """Put the handwritten digits where ``ann`` reads them."""
    hdfs.put(Path(DIGITS), "/user/ann/digits.parquet", "ann")


def executors_of(application: str) -> list[psutil.Process]:
    """Return the executors' JVMs of an application."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if process.name() == "java" and application in words and any("ExecutorBackend" in word for word in words):
                found.append(process)
    return found


_MASTERS = ("deploy.yarn.ApplicationMaster", "deploy.yarn.ExecutorLauncher")  # in cluster mode, in client mode


def masters_of(application: str) -> list[psutil.Process]:
    """Return the application masters' JVMs of an application; in cluster mode the driver is in there."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            ours = f"/{application}/" in process.environ().get("PWD", "")
            if process.name() == "java" and ours and any(word.endswith(_MASTERS) for word in words):
                found.append(process)
    return found
