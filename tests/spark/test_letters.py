"""Names in any letters arrive as they are, whatever locale a command line is started in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from mxspark.errors import InputError
from mxspark.spark.session import session

ROOT = Path(__file__).resolve().parents[2]
SAID = "grün, 数"
LETTERS = "ö数"
MODULE = f"""
import os

def netz_ö():
    assert os.environ["WERT"] == {SAID!r}, ascii(os.environ["WERT"])
    from mxnet import gluon
    return gluon.nn.Dense(1)
"""
JOB = f"""
job: {{name: Prüfung, dir: läufe/{LETTERS}}}
data: {{path: daten-{LETTERS}.parquet, features: {{größe: {{}}}}, label: {{目: {{}}}}}}
cluster: {{environment: {{WERT: "{SAID}"}}}}
training: {{network: "netz_ü:netz_ö", loss: l2, epochs: 1}}
"""


@pytest.mark.parametrize(
    "locale",
    [
        "C",
        pytest.param("POSIX", marks=pytest.mark.long),
        pytest.param("en_US.ISO-8859-1", marks=pytest.mark.long),  # not installed
        pytest.param(None, marks=pytest.mark.long),
    ],
)
def test_a_job_of_any_letters_is_the_same_in_every_locale(tmp_path: Path, locale: Optional[str]) -> None:
    rows = pa.table({"größe": [[float(i)] for i in range(8)], "目": [float(i) for i in range(8)]})
    pq.write_table(rows, tmp_path / f"daten-{LETTERS}.parquet")
    (tmp_path / "netz_ü.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "aufgabe-ñ.yaml").write_text(JOB, encoding="utf-8")
    environ = {key: value for key, value in os.environ.items() if key not in ("LC_ALL", "LC_CTYPE", "LANG")}
    environ |= {"MXSPARK_ENVIRONMENT": sys.prefix} | ({"LC_ALL": locale} if locale else {})
    command = [str(ROOT / "submit.sh"), "--master", "local[1]", "--conf", "spark.ui.enabled=false"]
    command += [str(ROOT / "spark_jobs/train.py"), "--config", "aufgabe-ñ.yaml", "--set", "job.dir=läufe/zweiter-ö"]
    done = subprocess.run(
        [*command, "--result", "ergebnis-é.json"], cwd=tmp_path, env=environ, capture_output=True, timeout=300
    )
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    assert done.returncode == 0, said
    assert json.loads((tmp_path / "ergebnis-é.json").read_text())["status"] == "succeeded"
    assert [path.name for path in (tmp_path / "läufe").iterdir()] == ["zweiter-ö"]
    assert not [path.name for path in tmp_path.rglob("*") if "?" in path.name or "\ufffd" in path.name]


class _Jvm:
    """A JVM of a locale; what it is asked is the property alone."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding

    def __getattr__(self, _name: str) -> Any:
        return self

    def getProperty(self, _name: str) -> str:
        return self.encoding


@pytest.mark.parametrize(
    ("encoding", "path", "refused"),
    [
        ("ANSI_X3.4-1968", "läufe", True),
        ("ANSI_X3.4-1968", "file:///läufe", True),
        ("ANSI_X3.4-1968", "runs", False),
        ("ANSI_X3.4-1968", "hdfs://läufe", False),  # Hadoop's own protocol is UTF-8
        ("ISO-8859-1", "läufe", False),
        ("ISO-8859-1", "数", True),
        ("UTF-8", "数", False),
    ],
)
def test_a_path_that_the_jvm_of_a_session_cannot_say_is_refused(encoding: str, path: str, refused: bool) -> None:
    spark: Any = type("Session", (), {"_jvm": _Jvm(encoding)})()
    if not refused:
        session.check_names(spark, {"data.path": path})
        return
    with pytest.raises(InputError, match=rf"data.path is '.*', but the JVM .* {encoding} only .*LC_ALL=C.UTF-8"):
        session.check_names(spark, {"data.path": path})


def test_the_jvm_of_these_tests_says_its_encoding(spark: SparkSession) -> None:
    session.check_names(spark, {"data.path": "数"} if sys.getfilesystemencoding() == "utf-8" else {})
