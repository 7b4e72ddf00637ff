"""What the launcher asks of a cluster that is gone, or does not answer, has an end."""

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
from spark.drivers import ROOT

from mxspark.errors import ClusterError
from mxspark.spark.hadoop_client import connect

SITE = "<configuration><property><name>{}</name><value>{}</value></property></configuration>"


def test_a_resource_manager_that_is_gone_is_not_asked_for_ever(tmp_path: Path) -> None:
    (tmp_path / "core-site.xml").write_text(SITE.format("fs.defaultFS", "file:///"))
    (tmp_path / "yarn-site.xml").write_text(SITE.format("yarn.resourcemanager.address", "127.0.0.1:1"))
    variables = {**os.environ, "HADOOP_CONF_DIR": str(tmp_path)}
    with pytest.raises(ClusterError, match="ResourceManager cannot be asked"), connect(variables, 8.0) as client:
        client.kill("mxspark-none")


def test_a_name_node_that_is_gone_is_told_in_the_result(tmp_path: Path) -> None:
    (tmp_path / "core-site.xml").write_text(
        SITE.format("fs.defaultFS", "hdfs://127.0.0.1:1").replace(
            "</configuration>", "<property><name>ipc.client.connect.max.retries</name><value>0</value></property>"
            "</configuration>",
        )
    )  # fmt: skip
    (tmp_path / "job.yaml").touch()
    command = [str(ROOT / "submit.sh"), "--master", "yarn", "--python", sys.executable]
    command += [str(ROOT / "spark_jobs/train.py"), "--config", "job.yaml", "--result", "result.json"]
    variables = {**os.environ, "HADOOP_CONF_DIR": str(tmp_path), "MXSPARK_ENVIRONMENT": sys.prefix}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "failed" and "Connection refused" in result["message"]
    assert f"mxspark: {result['message']}" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_before_spark_submit_is_there_ends_with_a_word(
    tmp_path: Path, number: signal.Signals, status: str
) -> None:
    """While the launcher asks a NameNode that takes the call and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as name_node:
        name_node.settimeout(60)
        address = f"hdfs://127.0.0.1:{name_node.getsockname()[1]}"
        (tmp_path / "core-site.xml").write_text(SITE.format("fs.defaultFS", address))
        (tmp_path / "job.yaml").touch()
        command = [str(ROOT / "submit.sh"), "--master", "yarn", "--python", sys.executable]
        command += [str(ROOT / "spark_jobs/train.py"), "--config", "job.yaml", "--result", "result.json"]
        variables = {**os.environ, "HADOOP_CONF_DIR": str(tmp_path), "MXSPARK_ENVIRONMENT": sys.prefix}
        with (tmp_path / "log").open("w") as log:
            launcher = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=log, stderr=log)
        try:
            call, _ = name_node.accept()
            below = psutil.Process(launcher.pid).children(recursive=True)
            assert below, "the JVM that asks"
            launcher.send_signal(number)
            assert launcher.wait(20) == 128 + number, (tmp_path / "log").read_text()
        finally:
            launcher.kill()
            launcher.wait(20)
        call.close()
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not alive
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert json.loads((tmp_path / "result.json").read_text())["status"] == status
