"""What the launcher asks of a cluster that is gone has an end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mxspark.errors import ClusterError
from mxspark.spark.hadoop_client import connect

SITE = "<configuration><property><name>{}</name><value>{}</value></property></configuration>"


def test_a_resource_manager_that_is_gone_is_not_asked_for_ever(tmp_path: Path) -> None:
    (tmp_path / "core-site.xml").write_text(SITE.format("fs.defaultFS", "file:///"))
    (tmp_path / "yarn-site.xml").write_text(SITE.format("yarn.resourcemanager.address", "127.0.0.1:1"))
    variables = {**os.environ, "HADOOP_CONF_DIR": str(tmp_path)}
    with pytest.raises(ClusterError, match="ResourceManager cannot be asked"), connect(variables, 8.0) as client:
        client.kill("mxspark-none")
