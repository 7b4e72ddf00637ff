"""Random small jobs through columns, spool files and the loop of real workers, against a training in plain MXNet.

Spark's tasks and MXNet's roles are left out, so that a job takes a moment: `spark/test_fuzz_jobs.py` has those too.
"""

from __future__ import annotations

import math
import multiprocessing
import random
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import mxnet as mx
import pyarrow as pa
import pytest
import spools
from fuzz.cases import LABELS, WHOLE, Case, Rows, cases_with, good_cases
from fuzz.compare import Outcome, check, refusal
from fuzz.flaws import FLAWS, Flaw
from fuzz.networks import network
from hypothesis import HealthCheck, given, note, reject, settings
from hypothesis import strategies as st
from turns import Turns, TurnsExchange

from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.data import columns
from mxspark.data.rows import ArrowReader, ElementReader
from mxspark.data.spool import ColumnSpec
from mxspark.data.survey import Survey
from mxspark.errors import ConfigError, DataError
from mxspark.job.spec import Restore, WorkerSpec
from mxspark.mx.loop import gluon as gluon_loop
from mxspark.mx.runtime.attribution import Blamed
from mxspark.protocol import events
from mxspark.spark.spool import inputs, meaning

TYPES = {name: getattr(pa, f"int{bits}")() for name, bits in WHOLE.items()} | {
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
}


class Agent:
    """Keeps what a worker says, commits what it stages, and has it end after some steps."""

    def __init__(self, last: float) -> None:
        self.last = last
        self.said: list[Any] = []
        self.send = self.said.append

    def goes_on(self, begun: int) -> bool:
        return begun < self.last

    def drain(self) -> None:
        """No order goes wrong."""

    def wait_committed(self, beat: Any) -> None:
        """All is committed."""


def run(case: Case, folder: Path) -> Outcome:
    """Do what the driver, Spark's tasks and the workers do with a job, one after the other."""
    try:
        job = JobConfig.from_dict({**case.job, "training": {**case.job["training"], "network": made(case)}})
        fields = case.kinds if case.source == "frame" else None
        wrong = columns.check(specs_of(job), fields)
        if wrong:
            raise ConfigError.from_problems("the job", wrong)
        training = spool(case, case.rows, case.counts, job, folder / "training")
        others = None
        if case.validation is not None:
            count = len(next(iter(case.validation.values())))
            others = spool(case, case.validation, (count,), job, folder / "validation")
        problems = meaning.problems(job, training, others)
        if problems:
            raise DataError("\n".join(problems))
        settled = (training.settled(job.features()), training.settled(job.labels()))
        if others is not None:
            inputs.check_same_shapes(settled, others)
        spec = resolve.worker_spec(
            job,
            run_id="run",
            columns=settled,
            data=resolve.data_sets(job, training.spool(folder / "t"), others and others.spool(folder / "v")),
            restore=None,
            staging=str(folder / "staging"),
        )
        said = train(spec, case.stops or math.inf)
        checkpoints = [one for one in said if isinstance(one, events.Staged) and one.kind == "checkpoint"]
        if case.stops and checkpoints:
            newest = checkpoints[-1]
            restore = Restore(newest.path, newest.step, newest.epoch, newest.meta["step_in_epoch"])
            said = [one for one in said if isinstance(one, events.EpochEnd)] + train(replace(spec, restore=restore))
        return outcome_of(said)
    except Exception as error:
        return refusal(error.error if isinstance(error, Blamed) else error)


def made(case: Case) -> Any:
    return network(case.inputs, case.outputs, case.hidden, case.norm)


def specs_of(job: JobConfig) -> tuple[ColumnSpec, ...]:
    specs, behind = job.spooled()
    return (*specs, *behind)


def train(spec: WorkerSpec, last: float = math.inf) -> list[Any]:
    """Return what rank 0 has said, with as many ranks as the job has workers."""

    def work(exchange: TurnsExchange) -> list[Any]:
        agent: Any = Agent(last)
        gluon_loop.make(spec, exchange, agent, {}).run()
        return list(agent.said)

    return list(Turns(spec.size).run(work)[0])


def outcome_of(said: list[Any]) -> Outcome:
    staged = [event for event in said if isinstance(event, events.Staged) and event.kind == "model"][-1]
    arrays = mx.nd.load(str(Path(staged.path, "model-0000.params")))
    epochs = [event for event in said if isinstance(event, events.EpochEnd)]
    return Outcome(
        parameters={name.partition(":")[2]: array.asnumpy() for name, array in arrays.items()},
        epochs=[{"training": end.training, "validation": end.validation, "rows": end.rows} for end in epochs],
    )


def spool(case: Case, rows: Rows, counts: tuple[int, ...], job: JobConfig, folder: Path) -> Survey:
    """Write partitions as Spark's tasks do."""
    parts, start = [], 0
    for count in counts:
        part = {name: values[start : start + count] for name, values in rows.items()}
        start += count
        parts.append(blocks(case, part, job))
    return spools.write(folder, parts, *job.spooled())


def blocks(case: Case, part: Rows, job: JobConfig) -> Any:
    """Return the blocks that Spark's tasks make of a partition, in the way that its rows come."""
    if case.source != "frame":
        rows = list(zip(*part.values()))
        elements = [dict(zip(part, row)) for row in rows] if case.source == "dicts" else rows
        return ElementReader(*job.spooled()).read(elements)
    specs = specs_of(job)
    names = columns.sources(specs)
    arrays = [pa.array(part[name], type_of(case.kinds[name])) for name in names]
    table = pa.RecordBatch.from_arrays(arrays, names=[f"c{place}" for place in range(len(names))])
    reader = ArrowReader(specs, {name: place for place, name in enumerate(names)})
    sizes = random.Random(case.counts[0])  # Spark cuts as it likes
    cuts = sorted({0, table.num_rows, *(sizes.randint(0, table.num_rows) for _ in range(2))})
    return [reader.read(table.slice(a, b - a)) for a, b in zip(cuts, cuts[1:])]


def type_of(kind: str) -> Any:
    return pa.list_(TYPES[kind[len("array<") : -1]]) if kind.startswith("array<") else TYPES[kind]


def fuzz(case: Case) -> None:
    if case.norm and not case.hidden and len(case.inputs) > 1:
        reject()  # a BatchNorm directly behind a concatenation: for some sizes MXNet's oneDNN fails in it
    note(case.by_hand())
    folder = Path(tempfile.mkdtemp())
    try:
        check(case, run(case, folder))
    finally:
        shutil.rmtree(folder)


QUIET: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


def fuzz_all(drawn: st.SearchStrategy[Case], **how: Any) -> None:
    @settings(**how, **QUIET)
    @given(drawn)
    def one(case: Case) -> None:
        fuzz(case)

    one()


@pytest.mark.parametrize("labels", sorted(LABELS))
def test_a_job_trains_as_plain_mxnet_does(labels: str) -> None:
    fuzz_all(good_cases(labels=labels), max_examples=80, derandomize=True)


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.name)
def test_a_job_with_a_flaw_is_refused_by_name(flaw: Flaw) -> None:
    fuzz_all(cases_with(flaw), max_examples=8, derandomize=True)


@pytest.mark.long
@pytest.mark.parametrize("turn", range(40))
def test_many_jobs_train_as_plain_mxnet_does_or_are_refused_by_name(turn: int) -> None:
    """In a process of its own: MXNet keeps memory for every network that was ever hybridized, some MiB each."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as one:
        one.submit(many_jobs).result(timeout=7200)


def many_jobs() -> None:
    fuzz_all(good_cases(), max_examples=500)
    fuzz_all(st.sampled_from(FLAWS).flatmap(cases_with), max_examples=250)
