"""How long from ./submit.sh to the first step on YARN, by phase, over what Spark itself needs to its first task?

    python bench/submit.py [--rounds 3] [--json FILE]

Client mode on the HDFS and YARN of the tests, two executors, the Python that travels: it and Spark's jars lie on HDFS,
and on the nodes, from a run before. `spark` is spark-submit with the same settings and the same archives, and a job of
two tasks; both take turns. Aim: no more than 6 s over Spark.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/cluster")]

import pyspark  # noqa: E402
import yaml  # noqa: E402
from hdfs import Hdfs  # noqa: E402
from spark.jobs import digits  # noqa: E402
from submitted import SMALL, with_digits  # noqa: E402
from yarn import Yarn, make_users, variables  # noqa: E402

AIM_S, LIMIT_S = 6.0, 300
TASKS = """
import time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("TASK", min(spark.sparkContext.parallelize(range(2), 2).map(lambda _: time.time()).collect()), flush=True)
spark.stop()
"""


class Bench:
    """The cluster, and the two ways to submit to it."""

    def __init__(self, hdfs: Hdfs, yarn: Yarn, folder: Path) -> None:
        self._hdfs, self._yarn, self._folder, self._number = hdfs, yarn, folder, 0
        self._confs = [word for key, value in SMALL.items() for word in ("--conf", f"{key}={value}")]
        self._environment = {**variables(yarn, "ann"), "MXSPARK_ENVIRONMENT": sys.prefix}
        (folder / "tasks.py").write_text(TASKS)

    def ours(self) -> dict[str, float]:
        """Train the digits and return seconds by phase."""
        self._number += 1
        job = digits(Path(f"runs/bench{self._number}"), training={"network": "spark_jobs.networks:lenet"})
        job["data"] |= {"path": "digits.parquet", "features": {"pixels": {"shape": [1, 8, 8]}}}
        (self._folder / "job.yaml").write_text(yaml.safe_dump(job))
        result_file = self._folder / "result.json"
        began = time.time()
        self._run(
            str(ROOT / "submit.sh"), "--master", "yarn", *self._confs, str(ROOT / "spark_jobs/train.py"),
            "--config", str(self._folder / "job.yaml"), "--result", str(result_file),
        )  # fmt: skip
        result = json.loads(result_file.read_text())
        path = result["events"].replace(self._hdfs.uri, "")
        said = [json.loads(line) for line in self._hdfs.read(path).splitlines()]
        started = max(line["time"] for line in said if line["event"] == "Started")
        step = min(line["time"] for line in said if line["event"] == "Beat" and line["step"] >= 1)
        seconds = result["seconds"]
        called = started - sum(seconds[phase] for phase in ("check", "spool", "resume", "start"))
        submitted = self._submitted()
        return {
            "launcher and spark-submit": submitted - began,
            "YARN, executors, session": called - submitted,
            **{phase: seconds[phase] for phase in ("check", "spool", "resume", "start")},
            "first step": step - started,
            "in all": step - began,
        }

    def spark(self) -> dict[str, float]:
        """Run two tasks and return seconds by phase."""
        kept = [name for name in self._hdfs.list("/user/ann/.mxspark") if not name.endswith(".part")]
        python = next(name for name in kept if name.startswith("python-"))
        jars = next(name for name in kept if name.startswith("spark-"))
        home = f"{self._hdfs.uri}/user/ann/.mxspark"
        began = time.time()
        output = self._run(
            str(Path(pyspark.__file__).parent / "bin/spark-submit"), "--master", "yarn", *self._confs,
            "--conf", f"spark.yarn.archive={home}/{jars}", "--archives", f"{home}/{python}#python",
            "--conf", "spark.pyspark.python=./python/bin/python",
            "--conf", f"spark.pyspark.driver.python={sys.executable}",
            str(self._folder / "tasks.py"),
        )  # fmt: skip
        task = float(output.split("TASK ")[1].split()[0])
        submitted = self._submitted()
        return {
            "spark-submit": submitted - began,
            "YARN, executors, first task": task - submitted,
            "in all": task - began,
        }

    def _submitted(self) -> float:
        """Return when YARN got the newest application."""
        return float(self._yarn.applications()[0]["startedTime"]) / 1000

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        if done.returncode:
            raise SystemExit(f"{command[0]} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def show(name: str, rounds: list[dict[str, float]]) -> dict[str, float]:
    """Print and return the medians of one side."""
    medians = {phase: statistics.median(found[phase] for found in rounds) for phase in rounds[0]}
    print(f"{name}: " + ", ".join(f"{phase} {taken:.1f}" for phase, taken in medians.items()) + " s")
    return medians


def measure(bench: Bench, rounds: int) -> dict[str, Any]:
    """Take turns, after one run that uploads and unpacks."""
    bench.ours()
    bench.spark()
    found: dict[str, list[dict[str, float]]] = {"ours": [], "spark": []}
    for number in range(rounds):
        for side in ("ours", "spark") if number % 2 else ("spark", "ours"):
            found[side].append(getattr(bench, side)())
            print(side, {phase: round(taken, 2) for phase, taken in found[side][-1].items()}, flush=True)
    medians = {side: show(side, taken) for side, taken in found.items()}
    over = statistics.median(a["in all"] - b["in all"] for a, b in zip(found["ours"], found["spark"]))
    print(f"over Spark's own: {over:.1f} s (median of the rounds; aim {AIM_S:g} s)")
    return {"question": "submit", "rounds": found, "medians": medians, "over_s": over, "aim_s": AIM_S}


def main() -> None:
    """Start the cluster, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        hdfs = Hdfs()
        yarn = Yarn(hdfs)
        try:
            hdfs.start()
            yarn.start()
            make_users(hdfs, "ann")
            with_digits(hdfs)
            figures = measure(Bench(hdfs, yarn, Path(name)), given.rounds)
        finally:
            yarn.stop()
            hdfs.stop()
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    main()
