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
from mxspark.launch.environment import Environment
from mxspark.launch.java import java_home
from mxspark.protocol import master
from mxspark.spark.session import local_folders, session
from mxspark.spark.session.session import SessionFacts

ROOT = Path(__file__).resolve().parents[2]
SUBMIT = f"mxspark.launch {ROOT / 'spark_jobs/train.py'} --config job.yaml"


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
    assert done.stderr.startswith("mxspark: starting Spark\n"), "it takes long, and nothing else is said meanwhile"
    assert f"set JAVA_HOME to one (it is {tmp_path}; java on the PATH is /" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("locl", "local[4]"),
        ("locl[2]", "local[2]"),
        ("local[0]", "local[4]"),
        ("local2", "local[2]"),
        ("local-cluster", "local-cluster[2,1,1024]"),
        ("yarn-client", "yarn"),
        ("Spark://a:7077", "spark://a:7077"),
        ("k8s:https://a", "k8s://https://HOST:6443"),
        ("here", ""),
    ],
)
def test_a_master_that_is_none_is_told_with_what_was_meant(given: str, meant: str) -> None:
    said = master.problem(given)
    assert said is not None and said.startswith(f"the master is {given!r}, which Spark does not know; ")
    assert f"did you mean {meant}?" in said if meant else "did you mean" not in said
    assert not meant or master.problem(meant) is None


@pytest.mark.parametrize(
    "given",
    [
        None,
        *("local", "local[*]", "local[4]", "local[4, 2]", "local-cluster[2, 1, 1024]"),
        *("yarn", "spark://a:1,b:2", "k8s://https://a:1", "k8s://a"),
    ],
)
def test_a_master_that_spark_takes_is_taken(given: Optional[str]) -> None:
    assert master.problem(given) is None


JOB = 'data: {path: ., format: csv, features: {x: {}}, label: y}\ntraining: {network: "net:network", loss: l2}'


@pytest.mark.parametrize("program", ["mxspark train --config job.yaml", "mxspark check --config job.yaml", SUBMIT])
def test_a_wrong_master_is_one_line_before_any_jvm(tmp_path: Path, program: str) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "net.py").write_text("def network():\n    return None\n")
    command = [sys.executable, "-m", *program.split(), "--master", "locl[2]"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, said
    assert "the master is 'locl[2]', which Spark does not know; did you mean local[2]?" in said
    assert "Traceback" not in said and "Java" not in said


def test_a_script_of_the_checkout_is_found_by_its_name_alone(tmp_path: Path) -> None:
    for folder, name in ((ROOT, "spark_jobs/train.py"), (tmp_path, str(ROOT / "spark_jobs/train.py"))):
        command = [sys.executable, "-m", "mxspark.launch", "train.py"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert f"there is no script train.py in {folder}; name {name}" in " ".join(done.stderr.split())


def test_a_variable_that_keeps_java_from_starting_is_named(tmp_path: Path) -> None:
    program = tmp_path / "bin/java"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        '[ -z "$_JAVA_OPTIONS" ] && exec echo "java.version = 17.0.1" >&2\n'
        'echo "Picked up _JAVA_OPTIONS: $_JAVA_OPTIONS\nUnrecognized option: $_JAVA_OPTIONS" >&2; exit 1\n'
    )
    program.chmod(0o755)
    environ = {"JAVA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    assert "its Java is one that will do" in session._no_jvm(environ)
    environ["_JAVA_OPTIONS"] = "-Xbad"
    said = "Java does not start with _JAVA_OPTIONS='-Xbad': Unrecognized option: -Xbad; correct it, or unset it"
    assert session._no_jvm(environ) == said
    with pytest.raises(InputError, match=re.escape(said)):
        java_home(Environment(tmp_path, tmp_path / "env", ""), environ)


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
