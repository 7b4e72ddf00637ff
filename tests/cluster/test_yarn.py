"""The digits on a real YARN and a real HDFS: both modes, what travels, kills of everything, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyspark
import pytest
import yaml
from hdfs import Hdfs
from pyspark.sql import SparkSession
from spark.drivers import OFTEN, ROOT, TESTS, inside, model, wait_for
from spark.jobs import digits
from submitted import LIMIT_S, ONE_NODE, SMALL, Submitted, executors_of, masters_of, submitted, with_digits
from yarn import Yarn, variables

LONG = pytest.mark.long
STORE = ROOT / ".mxspark"


@pytest.fixture(scope="module")
def ready(hdfs: Hdfs, yarn: Yarn) -> Yarn:
    with_digits(hdfs)
    return yarn


@pytest.fixture(scope="module")
def local_model(session: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    """The parameters that the same job gives in local mode."""
    folder = tmp_path_factory.mktemp("local")
    with inside(folder, "none") as run:
        assert run.popen.wait(LIMIT_S) == 0, run.log
        yield model(folder)


def nothing_runs(run: Submitted) -> None:
    wait_for("the end of every role", lambda: not run.roles())


@pytest.mark.parametrize("shipped", ["python", pytest.param("all", marks=LONG)])
def test_client_mode_with_a_python_that_travels(
    tmp_path: Path, hdfs: Hdfs, ready: Yarn, local_model: bytes, shipped: str
) -> None:
    name = f"shipped-{shipped}"
    # every file of it costs a process, where Hadoop has no native library
    confs = ONE_NODE if shipped == "python" else {}
    with submitted(tmp_path / "run", ready, name, "client", shipped, "middle", confs=confs) as run:
        run.reached()
        in_containers = [role for role in run.roles() if role.cmdline()[-1].partition("-")[0] != "scheduler"]
        assert len(in_containers) == 4, "two workers, two servers"
        for role in in_containers:
            maps = Path(f"/proc/{role.pid}/maps").read_text()
            assert "/filecache/" in maps and sys.prefix not in maps, "the packages"
            assert f"{sys.base_prefix}/" not in maps or sys.base_prefix == "/usr", "interpreter and its libraries"
        (run.gates / "go").touch()
        assert run.wait() == 0, run.explain()
        application = run.application
        assert application is not None and f"{application['id']} on YARN; its logs: yarn logs" in run.log
    outcome = run.outcome()
    assert (outcome["status"], outcome["steps"]) == ("succeeded", 24)
    assert outcome["model"] == f"{hdfs.uri}/user/ann/runs/{name}/model"
    assert hdfs.read(f"/user/ann/runs/{name}/model/model-0000.params") == local_model, "bit for bit"
    kept = hdfs.list("/user/ann/.mxspark")
    assert any(name.endswith(".tar") for name in kept) and not [name for name in kept if name.endswith(".part")]
    nothing_runs(run)


@pytest.mark.parametrize("shipped", ["nothing", pytest.param("python", marks=LONG)])
def test_cluster_mode_tells_the_launcher_how_it_ended(
    tmp_path: Path, hdfs: Hdfs, ready: Yarn, local_model: bytes, shipped: str
) -> None:
    name = f"cluster-{shipped}"
    with submitted(tmp_path / "run", ready, name, "cluster", shipped) as run:
        assert run.wait() == 0, run.explain()
        application = run.application
        assert application is not None and f"{application['id']} FINISHED; its logs: yarn logs" in run.log
        accepted = (
            f"mxspark: YARN has accepted {application['id']}; its logs: yarn logs -applicationId {application['id']}"
        )
        assert run.log.count(accepted) == 1 and run.log.index(accepted) < run.log.index("asking YARN how it ended")
        assert application["name"] == f"mxspark {digits(tmp_path)['job']['name']}", "not train.py"
    assert "succeeded: 2 epochs, 24 steps" in run.log and run.outcome()["steps"] == 24
    assert hdfs.read(f"/user/ann/runs/{name}/model/model-0000.params") == local_model
    assert not hdfs.list("/user/ann/.mxspark/outcomes")
    nothing_runs(run)


@LONG
def test_cluster_mode_tells_the_users_mistakes_from_others(tmp_path: Path, ready: Yarn) -> None:
    """Exit code 2 and every problem, and YARN's second attempt does not try again."""
    with submitted(tmp_path / "run", ready, "wrong", "cluster", "nothing", training={"epochs": 0}) as run:
        assert run.wait() == 2, run.explain()
    assert "training.epochs: input should be greater than 0, found 0" in run.log
    assert (run.outcome()["status"], run.outcome()["cause"]["kind"]) == ("failed", "input")


def test_a_killed_application_is_told_and_the_next_run_resumes(tmp_path: Path, ready: Yarn) -> None:
    """Client mode; what called setsid in the containers dies too."""
    with submitted(tmp_path / "run", ready, "killed", "client", "nothing", "middle", checkpoint=OFTEN) as run:
        run.reached()
        application = run.application
        assert application is not None and len(run.roles()) == 5
        ready.kill_application(application["id"])
        assert run.wait() == 4, run.explain()
        nothing_runs(run)
        assert run.application is not None and run.application["finalStatus"] == "KILLED"
    assert run.outcome()["status"] == "failed" and run.outcome()["cause"]["message"]
    with submitted(tmp_path / "again", ready, "killed", "client", "nothing", "none", checkpoint=OFTEN) as again:
        assert again.wait() == 0, again.explain()
    assert again.outcome()["steps"] == 24 and len(again.outcome()["history"]) <= 2


def test_a_container_killed_for_its_memory_is_named_as_such(tmp_path: Path, ready: Yarn) -> None:
    """With what it needs and the setting that gives it that; not tried again."""
    training = {"training": {"network": "spark.gates:hungry"}}
    with submitted(tmp_path / "run", ready, "hungry", "client", "nothing", "middle", **training) as run:
        assert run.wait() == 4, run.explain()
        nothing_runs(run)
    outcome = run.outcome()
    assert outcome["cause"]["kind"] == "memory", outcome
    assert "Container killed by YARN for exceeding physical memory limits" in outcome["message"]
    assert "--conf spark.executor.memoryOverhead=" in outcome["message"] and "memoryOverhead" in outcome["remedy"]
    assert [attempt["how"] for attempt in outcome["attempts"]] in ([], ["stop"]), "it would be killed again"


@pytest.mark.parametrize("victim", ["task", "executor", "node"])
@LONG
def test_a_lost_task_executor_or_node_is_healed(
    tmp_path: Path, hdfs: Hdfs, ready: Yarn, victim: str, local_model: bytes
) -> None:
    failure = {"start_s": 240.0, "max_restarts": 3}
    name = f"lost-{victim}"
    with submitted(
        tmp_path / "run", ready, name, "client", "nothing", "middle", checkpoint=OFTEN, failure=failure
    ) as run:
        run.reached()
        application = run.application
        assert application is not None
        executor = executors_of(application["id"])[0]
        if victim == "task":
            worker = next(role for role in run.roles() if role.cmdline()[-1] == "worker-0")
            worker.parent().parent().kill()  # the agent, and the Python of the task
        elif victim == "executor":
            executor.kill()
        else:
            number = 0 if "/node0/" in executor.environ()["PWD"] else 1
            ready.kill(f"nodemanager{number}")
            executor.kill()
        (run.gates / "go").touch()
        try:
            assert run.wait() == 0, run.explain()
        finally:
            if victim == "node":
                ready.start_node(number)
                ready.wait()
    (attempt,) = run.outcome()["attempts"]
    assert attempt["how"] == "stage" and run.outcome()["steps"] == 24
    assert hdfs.read(f"/user/ann/runs/{name}/model/model-0000.params") == local_model
    nothing_runs(run)


def scratches(yarn: Yarn) -> set[Path]:
    """Return the folders of drivers and agents, in containers and in the temporary folder that they are given."""
    ours = re.compile(r"mxspark-(?:[0-9a-f]{16}|[a-z0-9_]{8})")
    found = {*Path(os.environ["TMPDIR"]).iterdir(), *yarn.folder.glob("node*/local/usercache/*/appcache/*/*/mxspark-*")}
    return {path for path in found if ours.fullmatch(path.name)}


@pytest.mark.parametrize("mode", ["client", "cluster"])
@LONG
def test_a_killed_application_master(tmp_path: Path, hdfs: Hdfs, ready: Yarn, mode: str, local_model: bytes) -> None:
    """In cluster mode YARN starts the driver again and it resumes; in client mode a new master serves the same one."""
    name = f"master-{mode}"
    with submitted(tmp_path / "run", ready, name, mode, "nothing", "middle", checkpoint=OFTEN) as run:
        run.reached()
        application = run.application
        assert application is not None
        before = scratches(ready)
        (master,) = masters_of(application["id"])
        master.kill()
        (run.gates / "go").touch()
        assert run.wait() == 0, run.explain()
        assert before, "of driver and agents"
        wait_for("the end of all their files", lambda: not scratches(ready))
    assert run.outcome()["steps"] == 24
    if mode == "cluster":
        (lost,) = run.outcome()["attempts"]
        assert (lost["how"], lost["cause"]["kind"], lost["cause"]["role"]) == ("application", "killed", "driver"), lost
    assert hdfs.read(f"/user/ann/runs/{name}/model/model-0000.params") == local_model
    nothing_runs(run)


def drives(process: psutil.Process) -> bool:
    """Tell the driver from the launcher, the JVM and what the driver has started."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()[1:2] == [str(ROOT / "spark_jobs/train.py")]
    return False


@LONG
def test_a_killed_driver_leaves_nothing_whatever_yarn_says(tmp_path: Path, ready: Yarn) -> None:
    """YARN calls an application of client mode SUCCEEDED whose driver was killed; our exit code and job dir do not."""
    with submitted(tmp_path / "run", ready, "driver", "client", "nothing", "middle", checkpoint=OFTEN) as run:
        run.reached()
        (driver_process,) = [child for child in psutil.Process(run.popen.pid).children(recursive=True) if drives(child)]
        driver_process.kill()
        assert run.wait() not in (0, 2, 3), run.explain()
        nothing_runs(run)
        wait_for("YARN's last word", lambda: run.application and run.application["state"] == "FINISHED")


@LONG
def test_a_preempted_run_keeps_every_step_and_goes_on_to_the_same_bits(
    tmp_path: Path, hdfs: Hdfs, ready: Yarn, local_model: bytes
) -> None:
    """Client mode: SIGTERM to submit.sh makes a last checkpoint."""
    slow = {
        "cluster": {"environment": {"SLOW_S": "0.3"}},
        "training": {"metrics": ["spark.gates:slow"]},
        "report": {"every_s": 0.1},
    }
    with submitted(tmp_path / "run", ready, "preempted", "client", "nothing", **slow) as run:
        wait_for("some steps", lambda: re.search(r"step [3-9] of 24", run.log) or run.popen.poll() is not None)
        run.popen.send_signal(signal.SIGTERM)
        assert run.wait() == 143, run.explain()
        nothing_runs(run)
    outcome = run.outcome()
    assert outcome["status"] == "terminated" and 3 <= outcome["steps"] < 24
    assert outcome["checkpoint"].rpartition("/")[2].startswith(f"s{outcome['steps']:08d}-"), "every step counts"
    with submitted(tmp_path / "again", ready, "preempted", "client", "nothing") as again:
        assert again.wait() == 0, again.explain()
    assert again.outcome()["steps"] == 24
    assert hdfs.read("/user/ann/runs/preempted/model/model-0000.params") == local_model, "bit for bit"


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A requirements file with a wheel in it; what is made for it in the checkout is removed."""
    before = set(STORE.iterdir())
    wheel = tmp_path / "answerlib-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as out:
        out.writestr("answerlib.py", "from spark.gates import network\n")
        out.writestr("answerlib-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: answerlib\nVersion: 1.0\n")
        out.writestr("answerlib-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        out.writestr("answerlib-1.0.dist-info/RECORD", "")
    (tmp_path / "requirements.txt").write_text(f"answerlib @ {wheel.as_uri()}\n")
    yield tmp_path / "requirements.txt"
    for path in set(STORE.iterdir()) - before:
        if re.match(r"packages-|python-", path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@LONG
def test_packages_of_the_users_travel_with_the_python(
    tmp_path: Path, hdfs: Hdfs, ready: Yarn, local_model: bytes, package: Path
) -> None:
    """In an archive of its own; where the nodes are this machine, they would find the driver's copy too."""
    options = {"requirements": package, "training": {"network": "answerlib:network"}}
    before = set(STORE.glob("python-*.tar"))
    with submitted(tmp_path / "run", ready, "packages", "client", "python", **options) as run:
        assert run.wait() == 0, run.explain()
    assert hdfs.read("/user/ann/runs/packages/model/model-0000.params") == local_model
    (made,) = set(STORE.glob("python-*.tar")) - before
    assert made.name in hdfs.list("/user/ann/.mxspark"), "sent"
    with tarfile.open(made) as archive:
        assert any(name.endswith("/site-packages/answerlib.py") for name in archive.getnames())


@LONG
def test_an_interrupt_ends_an_application_in_the_cluster(tmp_path: Path, ready: Yarn) -> None:
    with submitted(tmp_path / "run", ready, "interrupted", "cluster", "nothing", "middle") as run:
        run.reached()
        run.popen.send_signal(signal.SIGINT)
        assert run.wait() == 130, run.explain()
        assert run.application is not None and run.application["finalStatus"] == "KILLED"
        nothing_runs(run)
    assert run.outcome()["status"] == "interrupted"


@contextlib.contextmanager
def without_resource_manager(yarn: Yarn) -> Iterator[None]:
    yarn.kill("resourcemanager")
    try:
        yield
    finally:
        yarn.start_resource_manager()
        yarn.wait()


@LONG
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_ends_the_launcher_when_yarn_is_gone(tmp_path: Path, ready: Yarn, times: int) -> None:
    """Of a cluster that does not answer it says so, after a minute or at a second Ctrl-C; spark-submit says nothing."""
    with submitted(tmp_path / "run", ready, f"gone-{times}", "cluster", "nothing", "middle") as run:
        run.reached()
        with without_resource_manager(ready):
            run.popen.send_signal(signal.SIGINT)
            wait_for("the question to YARN", lambda: "asking YARN how it ended" in run.log)
            if times == 2:
                run.popen.send_signal(signal.SIGINT)
            assert run.wait() == 130, run.log
        outcome = run.outcome()
        assert outcome["status"] == "interrupted"
        assert "may still run: yarn application -list -appStates ALL -appTags mxspark-" in outcome["message"]
        assert ("SIGINT ended the wait" if times == 2 else "ResourceManager cannot be asked") in outcome["message"]
        assert "Traceback" not in run.log
        nothing_runs(run)


def checked(folder: Path, yarn: Yarn, mode: str, *options: str) -> tuple[int, dict[str, Any], str]:
    """Check the job in the cluster and return exit code, what `--json` says by subject, and the other output."""
    job = digits(Path("runs/checked"), training={"network": "spark.gates:network"})
    job["data"]["path"] = "digits.parquet"
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    confs = {**SMALL, "spark.yarn.jars": f"local:{Path(pyspark.__file__).parent}/jars/*"}
    command = [str(ROOT / "submit.sh"), "--master", "yarn", "--deploy-mode", mode, "--python", sys.executable]
    command += [word for key, value in confs.items() for word in ("--conf", f"{key}={value}")]
    command += [*options, str(ROOT / "spark_jobs/check.py"), "--config", str(folder / "job.yaml"), "--json"]
    done = subprocess.run(
        command, cwd=TESTS, env={**variables(yarn, "ann"), "MXSPARK_ENVIRONMENT": sys.prefix},
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("{"), done.stderr
    report = json.loads(done.stdout)
    assert report["exit_code"] == done.returncode
    return done.returncode, {finding["subject"]: finding for finding in report["findings"]}, done.stderr


def test_check_finds_what_is_wrong_in_the_cluster(tmp_path: Path, hdfs: Hdfs, ready: Yarn) -> None:
    """Too little memory for the containers, which a local run would not show; and nothing is left behind."""
    code, found, said = checked(tmp_path, ready, "client", "--conf", "spark.executor.memoryOverhead=384m")
    wrong = {subject for subject, finding in found.items() if finding["status"] == "problem"}
    assert (code, wrong) == (4, {"memory of an executor"}), said
    assert "--conf spark.executor.memoryOverhead=" in found["memory of an executor"]["fix"]
    assert "2,410 trained values" in found["MXNet"]["seen"]
    assert found["clock of the job dir"]["status"] == "ok"
    assert "runs" not in hdfs.list("/user/ann") or "checked" not in hdfs.list("/user/ann/runs")


@LONG
def test_check_in_cluster_mode_tells_the_launcher(tmp_path: Path, ready: Yarn) -> None:
    code, found, said = checked(tmp_path, ready, "cluster", "--conf", "spark.executor.memoryOverhead=1100m")
    assert code == 0, said
    assert found["memory of an executor"]["status"] == "ok" and "memory of the driver" in found
