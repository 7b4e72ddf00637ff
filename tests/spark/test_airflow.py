"""A scheduled task of a real Airflow: its runner is killed, or its time is up, and the retry goes on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from spark.airflow_service import Airflow, airflow
from spark.drivers import LIMIT_S, ROOT, TESTS, model, wait_for
from spark.jobs import digits

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.version_info < (3, 10), reason="Airflow 3 needs a newer Python"),
]
LEASE_S = 6.0
(DAG,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/failures.md").read_text(), re.S)
OPTIONS = "--master local[2] --conf spark.ui.enabled=false"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with airflow(tmp_path_factory.mktemp("airflow")) as started:
        yield started


class Task:
    """A DAG of one task that trains."""

    def __init__(self, service: Airflow, folder: Path, moment: str, metric: str, epochs: int) -> None:
        self.service, self.folder, self.name = service, folder, folder.name
        (folder / "gates").mkdir()
        job = digits(folder / "job", training={"network": "spark.gates:network", "metrics": [metric], "epochs": epochs})
        job["cluster"]["environment"] = {"GATE_FOLDER": str(folder / "gates"), "GATE_MOMENT": moment, "SLOW_S": "0.2"}
        job["failure"] |= {"lease_s": LEASE_S, "hang_s": 300.0}
        job["checkpoint"] = {"every_steps": 5}
        (folder / "job.yaml").write_text(yaml.safe_dump(job))
        self.environment = {"MXSPARK_ENVIRONMENT": sys.prefix, "PYTHONPATH": str(TESTS), "SPARK_LOCAL_IP": "127.0.0.1"}
        files = f"{ROOT}/spark_jobs/train.py --config {folder}/job.yaml"
        self.command = f"{ROOT}/submit.sh {OPTIONS} {files}"

    def schedule(self, timeout: str = "None") -> None:
        text, result = DAG, f"{self.folder}/result-{{{{ ti.try_number }}}}.json"
        for documented, here in {
            '"digits", schedule="@weekly"': f'"{self.name}", schedule="@once"',
            "(2026, 1, 1), catchup=False": "(2024, 1, 1), catchup=True",
            "/opt/mxspark": str(ROOT),
            "./submit.sh": f"./submit.sh {OPTIONS}",
            "/srv/jobs/digits.yaml": f"{self.folder}/job.yaml",
            "/srv/runs/digits-{{ ds }}": f"{self.folder}/job --result {result}",
            "retries=3,": f"retries=9, env={self.environment}, append_env=True,",
            "datetime.timedelta(minutes=1)": "datetime.timedelta(seconds=2)",
            "datetime.timedelta(hours=6)": timeout,
        }.items():
            assert text.count(documented) == 1, f"{documented} in docs/failures.md"
            text = text.replace(documented, here)
        (self.service.dags / f"{self.name}.py").write_text(text)

    def tries(self) -> dict[int, list[psutil.Process]]:
        """Return the living processes of each try, by what Airflow has put into their environment."""
        found: dict[int, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, KeyError):
                environment = process.environ()
                if environment["AIRFLOW_CTX_DAG_ID"] == self.name and process.status() != psutil.STATUS_ZOMBIE:
                    found.setdefault(int(environment["AIRFLOW_CTX_TRY_NUMBER"]), []).append(process)
        return found

    def launcher(self) -> psutil.Process:
        """Return the first try's submit.sh, which the runner has started."""
        processes = self.tries()[1]
        pids = {process.pid for process in processes}
        (first,) = [process for process in processes if process.ppid() not in pids]
        return first

    def outcome(self, number: int) -> dict[str, Any]:
        return dict(json.loads((self.folder / f"result-{number}.json").read_text()))

    def undisturbed(self) -> dict[str, bytes]:
        """Return the model of the same job that nobody disturbs, without Airflow."""
        whole = self.folder / "whole"
        whole.mkdir()
        job = ["--set", f"job.dir={whole}/job", "--set", "cluster.environment={GATE_MOMENT: none, SLOW_S: '0'}"]
        environment = {**os.environ, **self.environment}
        subprocess.run([*self.command.split(), *job], env=environment, check=True, timeout=600, capture_output=True)
        return model(whole)

    def succeeded(self) -> bool:
        state = self.service.run_state(self.name)
        assert state != "failed", self.service.logs()
        return state == "success"

    def until(self, what: str, condition: Any, limit_s: float = LIMIT_S) -> None:
        try:
            wait_for(what, condition, limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.service.logs()}") from error


def test_a_killed_runner_leaves_a_driver_that_the_retry_replaces(service: Airflow, tmp_path: Path) -> None:
    task = Task(service, tmp_path, "middle", "spark.gates:gate", 2)
    task.schedule()
    task.until("the gate", lambda: len(list((tmp_path / "gates").glob("reached-*"))) == 2)
    launcher, family = task.launcher(), task.tries()[1]
    runner = launcher.parent()
    assert runner is not None and "airflow" in " ".join(runner.cmdline())
    runner.kill()
    task.until("the second try", lambda: 2 in task.tries())
    terms = tmp_path / "job/_terms"
    task.until("its term", lambda: (terms / "t000002").exists())
    taken = time.monotonic()
    task.until("the end of the first try", lambda: 1 not in task.tries())
    print(f"the first try, {len(family)} processes, was gone {time.monotonic() - taken:.1f} s after the take-over")
    (tmp_path / "gates/go").touch()
    task.until("the success", task.succeeded)
    assert task.outcome(2)["status"] == "succeeded" and "another run owns the job dir" in task.outcome(1)["message"]
    task.until("the end of the second try", lambda: not task.tries())
    assert model(tmp_path) == task.undisturbed()


def test_a_task_whose_time_is_up_keeps_its_steps_and_the_retry_goes_on(service: Airflow, tmp_path: Path) -> None:
    task = Task(service, tmp_path, "none", "spark.gates:slow", 24)
    task.schedule("datetime.timedelta(seconds=60)")
    task.until("the second try", lambda: 2 in task.tries())
    task.until("the end of the first try", lambda: 1 not in task.tries())
    task.until("the success", task.succeeded, 900)
    first, last = task.outcome(1), task.outcome(len(list(tmp_path.glob("result-*.json"))))
    assert (first["status"], last["status"]) == ("terminated", "succeeded")
    assert 0 < first["steps"] < last["steps"] == 24 * 12
    print(f"ended at step {first['steps']}, its checkpoint is {first['checkpoint']}")
    assert f"s{first['steps']:08d}" in str(first["checkpoint"]), "the last step is kept"
    task.until("the end of all", lambda: not task.tries())
    assert model(tmp_path) == task.undisturbed()
