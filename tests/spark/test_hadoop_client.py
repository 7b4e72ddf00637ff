"""What the launcher asks of a cluster that is gone, or does not answer, has an end and words."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from spark.drivers import LIMIT_S, ROOT

from mxspark.errors import ClusterError
from mxspark.spark.hadoop.client import connect

NOBODY = "127.0.0.1:1"


def cluster(folder: Path, name_node: str = "file:///", resource_manager: str = NOBODY, wait_s: float = 60) -> None:
    """Write the configuration of a cluster."""
    files = {
        "core-site.xml": {"fs.defaultFS": name_node, "ipc.client.connect.max.retries": 0},
        "yarn-site.xml": {
            "yarn.resourcemanager.address": resource_manager,
            "yarn.resourcemanager.connect.max-wait.ms": int(wait_s * 1000),
        },
    }
    for name, properties in files.items():
        rows = (f"<property><name>{key}</name><value>{value}</value></property>" for key, value in properties.items())
        (folder / name).write_text(f"<configuration>{''.join(rows)}</configuration>")


def submit(folder: Path) -> subprocess.Popen[bytes]:
    """Start a job on that cluster; its words go to ``log``."""
    (folder / "job.yaml").touch()
    command = [str(ROOT / "submit.sh"), "--master", "yarn", "--python", sys.executable]
    command += [str(ROOT / "spark_jobs/train.py"), "--config", "job.yaml", "--result", "result.json"]
    variables = {**os.environ, "HADOOP_CONF_DIR": str(folder), "MXSPARK_ENVIRONMENT": sys.prefix}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)


def test_a_resource_manager_that_is_gone_is_not_asked_for_ever(tmp_path: Path) -> None:
    cluster(tmp_path)
    variables = {**os.environ, "HADOOP_CONF_DIR": str(tmp_path)}
    with pytest.raises(ClusterError, match="ResourceManager cannot be asked"), connect(variables, 8.0) as client:
        client.kill("mxspark-none")


def test_a_name_node_that_is_gone_is_named(tmp_path: Path) -> None:
    cluster(tmp_path, name_node=f"hdfs://{NOBODY}")
    (tmp_path / "file").touch()
    variables = {**os.environ, "HADOOP_CONF_DIR": str(tmp_path)}
    refused = pytest.raises(ClusterError, match=r"file cannot be put to /x: .*Connection refused")
    with refused as caught, connect(variables, 60) as client:
        client.upload(str(tmp_path / "file"), "/x")
    assert "HADOOP_CONF_DIR names" in caught.value.remedy


def test_a_resource_manager_that_is_gone_is_told_before_spark_submit(tmp_path: Path) -> None:
    cluster(tmp_path, wait_s=2)
    launcher = submit(tmp_path)
    assert launcher.wait(LIMIT_S) == 4
    log, result = (tmp_path / "log").read_text(), json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "failed" and "ResourceManager cannot be asked" in result["message"]
    assert "Connection refused" in result["message"] and "HADOOP_CONF_DIR names" in result["remedy"]
    assert f"mxspark: {result['message']}" in log and "Traceback" not in log


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_before_spark_submit_is_there_ends_with_a_word(
    tmp_path: Path, number: signal.Signals, status: str
) -> None:
    """While the launcher asks a ResourceManager that takes the call and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as resource_manager:
        resource_manager.settimeout(LIMIT_S)
        cluster(tmp_path, resource_manager=f"127.0.0.1:{resource_manager.getsockname()[1]}")
        launcher = submit(tmp_path)
        try:
            call, _ = resource_manager.accept()
            below = psutil.Process(launcher.pid).children(recursive=True)
            assert below, "the JVM that asks"
            launcher.send_signal(number)
            assert launcher.wait(LIMIT_S) == 128 + number, (tmp_path / "log").read_text()
        finally:
            launcher.kill()
            launcher.wait(LIMIT_S)
        call.close()
    _, alive = psutil.wait_procs(below, timeout=LIMIT_S)
    assert not alive
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert json.loads((tmp_path / "result.json").read_text())["status"] == status
