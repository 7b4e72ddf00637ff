"""Real processes of different jobs that want the same job dir at the same time, again and again."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

from job_records import RECORD, a_run

from mxspark.errors import OwnerLives
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.lease import Lease
from mxspark.jobdir.ownership import Claim
from mxspark.storage.base import Storage

TESTS = Path(__file__).resolve().parent
NAMES = ("a", "b", "c")
LEASE_S = 1.5


def race(folder: str, rounds: int, patience_s: float = 400.0) -> None:
    """Hold races in folders below `folder`; in each exactly one must own, and the others must name it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    racers = [
        subprocess.Popen([sys.executable, __file__, folder, name], stdin=-1, stdout=-1, text=True, env=environment)
        for name in NAMES
    ]
    watchdog = threading.Timer(patience_s, lambda: [racer.kill() for racer in racers])
    watchdog.start()

    def hear() -> list[list[str]]:
        return [racer.stdout.readline().split() for racer in racers]  # type: ignore[union-attr]

    def tell(text: str) -> None:
        for racer in racers:
            racer.stdin.write(text + "\n")  # type: ignore[union-attr]
            racer.stdin.flush()  # type: ignore[union-attr]

    try:
        for number in range(rounds):
            assert hear() == [["ready"]] * len(NAMES)
            tell(f"job{number}")
            heard = hear()
            owners = [name for name, said in zip(NAMES, heard) if said[0] == "owns"]
            assert sorted(said[0] for said in heard) == ["lives", "lives", "owns"], heard
            assert {said[1] for said in heard if said[0] == "lives"} == set(owners), heard
            tell("end")
    finally:
        watchdog.cancel()
        for racer in racers:
            racer.kill()
            racer.communicate()


def main(folder: str, me: str) -> None:
    """Be a racer: for each line of standard input want the job dir of that name, until the next line."""
    storage = _storage(folder)
    run = dataclasses.replace(a_run(me, LEASE_S), run_id=me, pid=os.getpid())
    print("ready", flush=True)
    for line in sys.stdin:
        path = f"{folder}/{line.strip()}"
        try:
            owned = JobDir.acquire(storage, path, RECORD, run, Claim(storage, path, run, say=lambda _text: None))
            with Lease(owned) as held:
                print("owns", owned.term, flush=True)
                sys.stdin.readline()
                held.ensure_held()
        except OwnerLives as error:
            print("lives", str(error).split("lives: run ")[1].split()[0], flush=True)
            sys.stdin.readline()
        print("ready", flush=True)


def _storage(folder: str) -> Storage:
    if not folder.startswith("hdfs:"):
        from mxspark.storage.local import LocalStorage

        return LocalStorage()
    from pyspark.sql import SparkSession

    from mxspark.spark.hadoop.storage import HadoopStorage

    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    spark._jsc.hadoopConfiguration().set("dfs.replication", "1")
    return HadoopStorage(spark)


if __name__ == "__main__":
    main(*sys.argv[1:])
