"""What a Spark session is, and what cannot be done in it: without one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from mxspark.errors import ConfigError, InputError
from mxspark.spark.session import local_folders, session
from mxspark.spark.session.session import SessionFacts


def test_facts_are_read_of_a_session_that_no_gang_can_be_formed_in() -> None:
    class Connected:
        """What a Connect session looks like: no driver JVM behind it."""

    facts = session.facts(Connected())
    assert not facts.is_classic
    (problem,) = session.gang_problems(facts)
    assert type(problem) is InputError and "Spark Connect" in problem.message


def test_a_jvm_of_ours_is_quiet_unless_the_user_has_a_log(tmp_path: Path) -> None:
    (option,) = session._quiet({}).values()
    log = option.removeprefix("-Dlog4j2.configurationFile=file://")
    assert Path(log).read_text() == (Path(__file__).resolve().parents[2] / "conf/log4j2.properties").read_text()
    assert session._quiet({"SPARK_SUBMIT_OPTS": "-Xss4m"}) == {"SPARK_SUBMIT_OPTS": f"-Xss4m {option}"}
    assert session._quiet({"SPARK_SUBMIT_OPTS": "-Dlog4j2.configurationFile=mine"}) == {}
    (tmp_path / "conf").mkdir()
    for environ in ({"SPARK_HOME": str(tmp_path)}, {"SPARK_CONF_DIR": str(tmp_path / "conf")}):
        assert session._quiet(environ)
        (tmp_path / "conf/log4j2.properties").touch()
        assert session._quiet(environ) == {}
        (tmp_path / "conf/log4j2.properties").unlink()


IDLE = "spark.python.worker.idleTimeoutSeconds"
KILL = "spark.python.worker.killOnIdleTimeout"
SQL = "spark.sql.execution.pyspark.udf."
MEMORY = "spark.executor.pyspark.memory"


@pytest.mark.parametrize(
    ("settings", "instead"),
    [
        ({}, ""),
        ({"spark.dynamicAllocation.enabled": "True"}, "spark.dynamicAllocation.enabled=false"),
        ({"spark.dynamicAllocation.enabled": "false"}, ""),
        ({IDLE: "600", KILL: "true"}, f"{KILL}=false"),
        ({IDLE: "10min", KILL: "true"}, f"{KILL}=false"),
        ({IDLE: "600", KILL: "false"}, ""),
        ({IDLE: "0", KILL: "true"}, ""),
        ({IDLE: "0ms", KILL: "true"}, ""),
        ({KILL: "true"}, ""),
        ({f"{SQL}idleTimeoutSeconds": "60", f"{SQL}killOnIdleTimeout": "true"}, f"{SQL}killOnIdleTimeout=false"),
        ({MEMORY: "2g"}, f"{MEMORY}=0"),
        ({MEMORY: "0"}, ""),
        ({MEMORY: "0m"}, ""),
        ({"spark.speculation": "true", "spark.task.reaper.enabled": "true"}, ""),
    ],
)
def test_settings_that_no_gang_lives_with_are_refused_with_what_to_set(settings: dict[str, str], instead: str) -> None:
    anything: Any = None
    found = session.gang_problems(SessionFacts(anything, settings=settings))
    assert [type(problem) for problem in found] == [ConfigError] * bool(instead)
    assert all(f"start the session with --conf {instead}" in problem.message for problem in found)
    followed = {**settings, **dict([instead.split("=")])} if instead else settings
    assert not session.gang_problems(SessionFacts(anything, settings=followed)), "the advice does not help"


def test_a_page_lists_every_setting_that_is_refused() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/spark-settings.md").read_text()
    refused = set(re.findall(r"^\| `(spark\.\S+)` .*\| refused", page, re.M))
    assert refused == {"spark.dynamicAllocation.enabled", KILL, f"{SQL}killOnIdleTimeout", MEMORY}


def test_a_java_that_does_not_start_is_no_mistake_of_ours(tmp_path: Path) -> None:
    java = tmp_path / "bin/java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho java.lang.UnsupportedClassVersionError: class file version 61.0 >&2\nexit 1\n")
    java.chmod(0o755)
    (tmp_path / "job.yaml").write_text(
        'data: {path: a, features: {x: {}}, label: y}\ntraining: {network: "a:b", loss: l2}'
    )
    command = [sys.executable, "-m", "mxspark", "train", "--config", "job.yaml"]
    environ = {**os.environ, "JAVA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "UnsupportedClassVersionError" in done.stderr
    assert f"set JAVA_HOME to one (it is {tmp_path}; java on the PATH is /" in " ".join(done.stderr.split())


def test_local_folders_of_spark_have_its_own_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    monkeypatch.setenv("LOCAL_DIRS", "/yarn/1,/yarn/2")
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/temporary")
    assert local_folders.of_task() == ("/yarn/1", "/yarn/2")
    assert local_folders.of_driver("/a,/b") == ("/a", "/b"), "YARN's are those of a container"
    assert local_folders.of_driver() == ("/temporary",)
    monkeypatch.setenv("SPARK_LOCAL_DIRS", "/c,,/d")
    assert local_folders.of_task() == local_folders.of_driver("/a") == ("/c", "/d")


def test_a_driver_in_a_container_keeps_its_files_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "container_1_0001_01_000001"
    folder.mkdir()
    monkeypatch.setenv("PWD", str(folder))
    monkeypatch.delenv("CONTAINER_ID", raising=False)
    assert local_folders.of_container() is None
    monkeypatch.setenv("CONTAINER_ID", folder.name)
    assert local_folders.of_container() == str(folder)
    monkeypatch.setenv("PWD", str(tmp_path))
    assert local_folders.of_container() is None, "who has gone elsewhere has not said where it was"


def test_a_command_is_named_by_its_job_by_airflow_or_by_yarn(monkeypatch: pytest.MonkeyPatch) -> None:
    def facts(mode: Optional[str]) -> SessionFacts:
        context = SimpleNamespace(applicationId="application_1_2", getConf=lambda: {"spark.submit.deployMode": mode})
        spark: Any = SimpleNamespace(sparkContext=context)
        return SessionFacts(spark)

    assert session.command_id(facts(None), None) is None and session.command_id(facts("client"), None) is None
    assert session.command_id(facts("cluster"), None) == "application_1_2", "YARN starts a lost driver again"
    for name, value in (
        ("DAG_ID", "digits"),
        ("TASK_ID", "train"),
        ("DAG_RUN_ID", "scheduled__2026-01-01T00:00:00+00:00"),
    ):
        assert session.command_id(facts(None), None) is None
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", value)
    assert session.command_id(facts("cluster"), None) == "digits.train.scheduled__2026-01-01T00_00_00_00_00"
    assert session.command_id(facts("cluster"), "mine") == "mine"
