"""Hadoop's FileContext as storage, over its local filesystem (which checks, then creates: no races here)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from storage_contract import Place, StorageContract

from mxspark.errors import ClusterError, JobDirError
from mxspark.spark.hadoop.storage import HadoopStorage


@pytest.fixture
def session(spark: SparkSession) -> SparkSession:
    """The session of this tier; HDFS has another."""
    return spark


class TestHadoopLocal(StorageContract):
    @pytest.fixture
    def place(self, session: SparkSession, tmp_path: Path) -> Place:
        (tmp_path / "root").mkdir()
        path = f"file://{tmp_path}/root"
        return HadoopStorage(session), path


def test_plain_path_is_of_the_default_filesystem(session: SparkSession) -> None:
    storage = HadoopStorage(session)
    assert storage.qualify("/runs/digits") == "file:///runs/digits"
    assert storage.qualify("runs/digits").startswith("file:///")


def test_unknown_scheme_is_named(session: SparkSession) -> None:
    with pytest.raises(JobDirError, match=r"No FileSystem for scheme 's3x' \(s3x://bucket/jobs\); set job\.dir"):
        HadoopStorage(session).qualify("s3x://bucket/jobs")


def test_unknown_host_is_one_clear_line(session: SparkSession) -> None:
    with pytest.raises(ClusterError, match=r"could not look at hdfs://nosuchhost\.invalid/.*UnknownHost") as caught:
        HadoopStorage(session).stat("hdfs://nosuchhost.invalid/jobs")
    assert "\n" not in str(caught.value)


def test_a_model_is_fetched_after_the_session_that_made_it_was_replaced(tmp_path: Path) -> None:
    """In a process of its own, which ends its sessions."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "signature.json").write_text("{}")
    program = f"""
import copy, pickle
from pyspark.sql import SparkSession
from mxspark.errors import ClusterError
from mxspark.model import Model
from mxspark.spark.hadoop.storage import HadoopStorage

def session():
    return SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()

first = session()
model = Model("file://{tmp_path}/model", HadoopStorage(first).opener())
first.stop()
try:
    model.fetch("{tmp_path}/never")
except ClusterError as error:
    print(error)
second = session()
for name, handle in (("same", model), ("copied", copy.deepcopy(model)), ("pickled", pickle.loads(pickle.dumps(model)))):
    handle.fetch(f"{tmp_path}/{{name}}")
second.stop()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "there is no Spark session in this process to reach Hadoop's filesystem through; make one" in done.stdout
    for name in ("same", "copied", "pickled"):
        assert (tmp_path / name / "signature.json").read_text() == "{}"
    assert not (tmp_path / "never").exists()
