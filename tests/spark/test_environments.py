"""What a user's environment may say: what would lead elsewhere is refused before Java starts, the rest is harmless."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from spark import checkouts
from spark.jobs import DIGITS

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "/proc/1/nowhere"  # what even root can neither read nor make
NOBODY = 65534
PATH = "/usr/bin:/bin"  # of a user who has nothing installed
JOB = f"""
job: {{name: odd, dir: "ein Lauf ö"}}
data: {{path: {DIGITS}, features: {{pixels: {{}}}}, label: {{digit: {{dtype: int32}}}}}}
cluster: {{num_workers: 2}}
training: {{network: "mynet:build", loss: softmax_cross_entropy, epochs: 1}}
"""
NETWORK = "def build():\n    from mxnet import gluon\n    return gluon.nn.Dense(10)\n"


def run(command: Sequence[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "MXSPARK_ENVIRONMENT": sys.prefix, **variables}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=600)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def spark_of_another_time(folder: Path) -> Path:
    """Make a Spark of which there is as much as is looked at."""
    (folder / "jars").mkdir(parents=True)
    (folder / "jars/spark-core_2.12-3.3.2.jar").touch()
    (folder / "python/pyspark").mkdir(parents=True)
    (folder / "python/pyspark/__init__.py").write_text("raise ImportError('a pyspark of another time')\n")
    (folder / "python/lib").mkdir()
    (folder / "python/lib/py4j-0.10.9.5-src.zip").touch()
    return folder


@dataclass(frozen=True)
class Refusal:
    """A start that cannot lead to what was meant, and what is said of it; ``{}`` is the folder of the test."""

    arguments: str
    variables: dict[str, str]
    message: str


REFUSALS = {
    "an old Spark": Refusal("a.py", {"SPARK_HOME": "{}/old"}, "is Spark 3.3.2, but our pyspark ("),
    "an old Spark for a shell": Refusal(
        "--exec pyspark", {"SPARK_HOME": "{}/old"}, "is Spark 3.3.2, but our pyspark ("
    ),
    "no Spark": Refusal("a.py", {"SPARK_HOME": "{}"}, "holds no Spark (no jars/spark-core_*.jar); correct or unset it"),
    "another Python": Refusal(
        "a.py --conf spark.pyspark.python=/usr/bin/python3", {}, "--conf spark.pyspark.python=/usr/bin/python3: driver"
    ),
    "another Python for DataFrames": Refusal(
        "--conf=spark.sql.execution.pyspark.python=/usr/bin/python3 a.py",
        {},
        "leave it out, or set MXSPARK_ENVIRONMENT",
    ),
    "another Python on YARN": Refusal(
        "--master yarn a.py --conf spark.pyspark.driver.python=/opt/python", {}, "with --master yarn --python names"
    ),
    "no cluster": Refusal("--master yarn a.py", {"HADOOP_CONF_DIR": "", "YARN_CONF_DIR": ""}, "set HADOOP_CONF_DIR to"),
    "a cluster's folder that is not there": Refusal(
        "--master yarn a.py",
        {"HADOOP_CONF_DIR": NOWHERE},
        f"HADOOP_CONF_DIR={NOWHERE} holds no yarn-site.xml and no core-site.xml; set HADOOP_CONF_DIR to the folder of",
    ),
    "no environment": Refusal(
        "a.py", {"MXSPARK_ENVIRONMENT": NOWHERE}, "it has no bin/python that this user may run; name a virtual"
    ),
    "a script that is not there": Refusal("b.py", {}, "there is no script b.py in {}; name one that is there"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    spark_of_another_time(tmp_path / "old")
    (tmp_path / "a.py").write_text("raise SystemExit('this was run')\n")
    row = REFUSALS[name]
    variables = {key: value.replace("{}", str(tmp_path)) for key, value in row.variables.items()}
    done = run([str(ROOT / "submit.sh"), *row.arguments.split()], tmp_path, **variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert row.message.replace("{}", str(tmp_path)) in done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("mxspark: "), done.stderr


def as_user(uid: int, *command: str) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command]


@pytest.fixture
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of this checkout in a folder that others can read, its name with a space and letters in it."""
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("java", path=PATH):
        pytest.skip("to be another user needs root and setpriv, and a Java that all may use")
    folder = Path("/tmp") / f"mxspark ü {os.getpid()}"
    try:
        yield checkouts.copy(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def environment(checkout: Path) -> Path:
    """What counts as a Python environment of which nothing is run."""
    (checkout / "env/bin").mkdir(parents=True)
    (checkout / "env/bin/python").symlink_to("/usr/bin/python3")
    return checkout / "env"


def test_a_checkout_that_is_not_ones_own_is_named_with_its_owner_and_can_be_used_once_it_is_made(
    checkout: Path, environment: Path
) -> None:
    command = as_user(NOBODY, str(checkout / "submit.sh"), "--exec", "true")
    done = run(command, checkout, MXSPARK_ENVIRONMENT="", PATH=PATH)
    assert done.returncode == 2
    assert f"{checkout}/.mxspark belongs to root and nobody cannot write to it" in done.stderr
    assert "let root run the same command once, with --exec true" in done.stderr and "Traceback" not in done.stderr
    # what is made by the owner, who needs minutes for it, is there for all
    code = "import sys; from pathlib import Path; from mxspark.launch.environment import Environment; "
    code += "print(Environment.wanted(Path(sys.path[0] or '.').resolve(), {}).path)"
    found = run(["python3", "-c", code], checkout, PATH=PATH)
    (checkout / ".mxspark").mkdir()
    Path(found.stdout.strip()).symlink_to(environment)
    assert run(command, checkout, MXSPARK_ENVIRONMENT="", PATH=PATH).returncode == 0
    closed = run(command, checkout, MXSPARK_ENVIRONMENT="/root/not-theirs", PATH=PATH)
    assert closed.returncode == 2 and "it has no bin/python that this user may run" in closed.stderr


def test_a_user_without_a_name_is_refused_and_one_line_helps(checkout: Path, environment: Path, tmp_path: Path) -> None:
    command = as_user(54321, str(checkout / "submit.sh"), "--exec", "true")
    variables = {"MXSPARK_ENVIRONMENT": str(environment), "PATH": PATH}
    done = run(command, checkout, **variables)
    assert done.returncode == 2
    advice = "app:x:54321:54321::/tmp:/bin/sh"
    assert f"uid 54321 has no name in /etc/passwd, without which Spark cannot start; add a line such as '{advice}'" in (
        said(done)
    )
    (tmp_path / "passwd").write_text(Path("/etc/passwd").read_text() + advice + "\n")
    mount = f'mount --bind "{tmp_path}/passwd" /etc/passwd && exec "$@"'
    followed = run(["unshare", "--mount", "bash", "-c", mount, "bash", *command], checkout, **variables)
    if followed.stderr.startswith(("unshare: ", "mount: ")):
        pytest.skip(f"nothing can be mounted here: {followed.stderr}")
    assert followed.returncode == 0, followed.stderr


def test_a_run_is_led_nowhere_by_what_an_environment_may_hold(tmp_path: Path) -> None:
    """Everything that is harmless, in one run."""
    here = tmp_path / "Ein langer Weg, ö" / ("x" * 120)
    old = spark_of_another_time(tmp_path / "old")
    (tmp_path / "java 8/bin").mkdir(parents=True)
    (tmp_path / "java 8/bin/java").touch(mode=0o755)
    (tmp_path / "java 8/release").write_text('JAVA_VERSION="1.8.0_412"\n')
    conf = tmp_path / "conf of the cluster"
    conf.mkdir()
    settings = {
        "spark.pyspark.python": NOWHERE,
        "spark.pyspark.driver.python": NOWHERE,
        "spark.sql.execution.pyspark.python": NOWHERE,
        "spark.dynamicAllocation.enabled": "true",
        "spark.python.worker.killOnIdleTimeout": "true",
        "spark.python.worker.idleTimeoutSeconds": "1",
        # harmless, says docs/spark-settings.md
        "spark.barrier.sync.timeout": "1",
        "spark.decommission.enabled": "true",
        "spark.excludeOnFailure.enabled": "true",
        "spark.io.encryption.enabled": "true",
        "spark.python.worker.reuse": "false",
        "spark.python.task.killTimeout": "0s",
        "spark.speculation": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "7",
        "spark.sql.execution.arrow.useLargeVarTypes": "true",
        "spark.task.reaper.enabled": "true",
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
    }
    (conf / "spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    variables = {
        "HADOOP_CONF_DIR": NOWHERE,
        "HOME": NOWHERE,
        "JAVA_HOME": str(tmp_path / "java 8"),
        "PYSPARK_DRIVER_PYTHON": "jupyter",
        "PYSPARK_DRIVER_PYTHON_OPTS": "notebook",
        "PYSPARK_PYTHON": NOWHERE,
        "PYSPARK_SUBMIT_ARGS": "--master spark://nowhere:1 --conf spark.executor.memory=1t pyspark-shell",
        "PYTHONPATH": f"{old}/python:{old}/python/lib/py4j-0.10.9.5-src.zip",
        "SPARK_CONF_DIR": str(conf),
        "TMPDIR": str(here / "tmp"),
        "_JAVA_OPTIONS": "-Dof.the.user=1",
    }
    variables |= {name: "http://127.0.0.1:1" for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY")}
    checkouts.copy(here / "mxspark")
    (here / "tmp").mkdir()
    (here / "env").symlink_to(sys.prefix)
    (here / "mynet.py").write_text(NETWORK)
    (here / "Aufgabe ä.yaml").write_text(JOB, encoding="utf-8")
    command = [str(here / "mxspark/submit.sh"), str(here / "mxspark/spark_jobs/train.py")]
    command += ["--config", "Aufgabe ä.yaml", "--result", "Ergebnis.json"]
    done = run(command, here, MXSPARK_ENVIRONMENT=str(here / "env"), **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((here / "Ergebnis.json").read_text())["status"] == "succeeded"
    assert (here / "ein Lauf ö/model/model-0000.params").is_file()
    for noted in (f"{old}/python in PYTHONPATH is part of a Spark: not used", "is Java 8, Spark needs 17 or newer"):
        assert noted in done.stderr
