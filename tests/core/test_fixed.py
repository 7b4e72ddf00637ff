"""What is fixed beside the record, and what is said of options that change from run to run."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from job_records import RECORD, a_run

from mxspark.config.job_config import JobConfig
from mxspark.errors import JobDirError
from mxspark.job import fixed
from mxspark.job.digest import digest_of
from mxspark.job.fixed import Fixed
from mxspark.job.spec import label_of
from mxspark.jobdir import fixed_file
from mxspark.jobdir.layout import JobDir
from mxspark.storage.memory import InMemoryStorage

RELU = Fixed(("input data", "relu() of 0", "outputs 1"), {"training.loss.axis": 1})


def job(**training: Any) -> JobConfig:
    raw = {"network": "nets:mlp", "loss": "l2", "optimizer": {"name": "sgd", "learning_rate": 0.1}, **training}
    return JobConfig.from_dict({"data": {"features": ["x"], "label": "y"}, "training": raw})


def test_every_option_is_told_by_its_key_and_what_was_not_given_as_such() -> None:
    before = job(metrics=[{"name": "top_k_accuracy", "k": 3}])
    now = job(
        optimizer={"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
        metrics=[{"name": "top_k_accuracy", "k": 5}],
        schedule={"name": "factor", "step": 5},
    )
    assert fixed.changes(fixed.options(before.training), fixed.options(now.training)) == [
        "training.optimizer.learning_rate: 0.1 -> 0.01",
        "training.metrics.0.k: 3 -> 5",
        "training.optimizer.momentum: not set -> 0.9",
        "training.schedule: not set -> factor",
        "training.schedule.step: not set -> 5",
    ]


def test_a_variable_that_a_function_may_read_makes_another_folder_and_a_secret_does_not() -> None:
    def folder(**variables: str) -> str:
        raw = {"data": {"features": ["x"], "label": "y"}, "training": {"network": "nets:mlp", "loss": "nets:loss"}}
        return JobConfig.from_dict({**raw, "cluster": {"environment": variables}}).job_dir

    assert folder(ALPHA="1") == folder(ALPHA="1", S3_ACCESS_KEY_ID="a", DB_PASSWORD="b", GITHUB_TOKEN="c")
    assert len({folder(), folder(ALPHA="1"), folder(ALPHA="2"), folder(MONKEY="1")}) == 4
    assert (
        folder()
        == JobConfig.from_dict(
            {"data": {"features": ["x"], "label": "y"}, "training": {"network": "nets:mlp", "loss": "nets:loss"}}
        ).job_dir
    )


def test_weights_of_classes_are_options_of_the_loss() -> None:
    before = job(loss="hinge", class_weights={-1: 1, 1: 3})
    now = job(loss="hinge", class_weights={1: 9})
    lines = ["training.class_weights.-1: 1.0 -> not set", "training.class_weights.1: 3.0 -> 9.0"]
    for of in (fixed.options, fixed.options_of_loss):
        assert fixed.changes(of(before.training), of(now.training)) == lines
        assert of(now.training.spec()) == of(now.training)
    assert fixed.options_of_loss(job().training) == {}


def test_another_graph_is_told_by_its_first_difference() -> None:
    assert fixed.other_graph(RELU.graph, RELU.graph) is None
    longer = (*RELU.graph[:2], "tanh() of 1", "outputs 2")
    words = fixed.other_graph(RELU.graph, longer)
    assert words == "its part 3 was outputs 1 and is tanh() of 1 (3 parts then, 4 now)"
    assert fixed.other_graph(longer, longer[:2]) == "its part 3 was tanh() of 1 and is nothing (4 parts then, 2 now)"


def test_the_first_run_fixes_it_and_another_network_or_loss_option_is_refused() -> None:
    storage = InMemoryStorage()
    first = JobDir.acquire(storage, "/job", RECORD, a_run())
    assert fixed_file.read(storage, "/job") is None
    fixed_file.compare(storage, "/job", {"training.loss.axis": 2})  # nothing is fixed yet
    fixed_file.settle(first, RELU)
    fixed_file.settle(first, RELU)
    assert fixed_file.read(storage, "/job") == RELU
    with pytest.raises(JobDirError, match=r"another one than this job began with: its part 2 was relu\(\) of 0 and is"):
        fixed_file.settle(first, Fixed(("input data", "tanh() of 0", "outputs 1"), RELU.loss))
    fixed_file.compare(storage, "/job", RELU.loss)
    with pytest.raises(JobDirError, match=r"training.loss.axis: 1 -> 2\n"):
        fixed_file.compare(storage, "/job", {"training.loss.axis": 2})
    assert [entry.name for entry in storage.list("/job/_tmp/t000001")] == []


def test_a_run_that_was_taken_over_fixes_nothing() -> None:
    storage = InMemoryStorage()
    old = JobDir.acquire(storage, "/job", RECORD, a_run())
    JobDir.acquire(storage, "/job", RECORD, a_run())
    with pytest.raises(JobDirError, match="another run owns the job dir"):
        fixed_file.settle(old, RELU)
    assert fixed_file.read(storage, "/job") is None


def scaled(factor: Any) -> Callable[[Any, Any], Any]:
    return lambda output, label: abs(output - label) * factor


class Rate:
    """Something that holds a setting, and something that it works out when it is used."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._cache = object()


def recursive() -> Callable[[int], int]:
    def factorial(number: int) -> int:
        return number * factorial(number - 1) if number else 1

    return factorial


def test_a_function_is_told_from_another_of_its_name() -> None:
    assert digest_of(scaled(2)) == digest_of(scaled(2)) != digest_of(scaled(3))
    assert digest_of(scaled([1, 2])) != digest_of(scaled([1, 3]))
    assert digest_of(scaled(object())) == digest_of(scaled(object())), "what cannot be told is left out"
    assert digest_of(scaled({"lr": 1, "by": [2]})) == digest_of(scaled({"by": [2], "lr": 1}))
    assert digest_of(scaled({"lr": 1})) != digest_of(scaled({"lr": 2}))
    assert digest_of(scaled({"a", "b"})) == digest_of(scaled({"b", "a"})) != digest_of(scaled({"a"}))
    assert digest_of(functools.partial(scaled, 2)) != digest_of(functools.partial(scaled, 3))
    assert digest_of(scaled(Rate(1))) == digest_of(scaled(Rate(1))) != digest_of(scaled(Rate(2)))
    assert digest_of(recursive()) == digest_of(recursive())
    assert digest_of(print) == digest_of(print) != digest_of(len), "what has no code is known by its name"
    namespaces: list[dict[str, Any]] = []
    for text in (
        "RATE = 2\n\n\ndef loss(a, b):\n    return a * RATE\n",
        "RATE = 3\ndef loss(a, b):\n  return a * RATE",
    ):
        namespace: dict[str, Any] = {}
        exec(text, namespace)
        namespaces.append(namespace)
    one, other = (namespace["loss"] for namespace in namespaces)
    assert digest_of(one) != digest_of(other), "a value of its module"
    namespaces[1]["RATE"] = 2
    assert digest_of(one) == digest_of(other), "lines and blanks do not count"


class Focal:
    """A loss that keeps its settings to itself, as those of Gluon do."""

    def __init__(self, alpha: float, weights: Any = (1, 2)) -> None:
        self._alpha = alpha
        self.weights = weights
        self._seen: dict[str, int] = {}

    def __call__(self, output: Any, label: Any) -> Any:
        return output - label * self._alpha

    def compute(self, output: Any, label: Any) -> Any:
        return self(output, label)


def test_what_an_object_or_an_array_holds_counts() -> None:
    for one, same, others in (
        (Focal(1), Focal(1), [Focal(2), Focal(1, [1, 3]), Focal(1, np.array([1, 2]))]),
        (Focal(1).compute, Focal(1).compute, [Focal(2).compute, Focal(1).__call__]),
        (scaled(np.array([1, 9])), scaled(np.array([1, 9])), [scaled(np.array([1, 8])), scaled(np.array([1.0, 9.0]))]),
        (scaled(np.float32(1)), scaled(np.float32(1)), [scaled(np.float32(2))]),
        (scaled(Focal(1)), scaled(Focal(1)), [scaled(Focal(2))]),
    ):
        assert digest_of(one) == digest_of(same)
        assert digest_of(one) not in {digest_of(other) for other in others}


class Level(enum.Enum):
    LOW, HIGH = 1, 2


@dataclasses.dataclass
class Band:
    low: float
    inner: Any = None


class Slim:
    __slots__ = ("rate",)

    def __init__(self, rate: float) -> None:
        self.rate = rate


class Held:
    """A loss that holds one value, under a name that it keeps to itself or not."""

    def __init__(self, value: Any, name: str = "value") -> None:
        setattr(self, name, value)

    def __call__(self, output: Any, label: Any) -> Any:
        return output - label


VALUES = [
    lambda n: [(0.05 * n, 1.0)],
    lambda n: [[n, 2], [3, 4]],
    lambda n: [np.array([n])],
    lambda n: Band(n),
    lambda n: Band(1, Band(n)),
    lambda n: Level(n),
    lambda n: scaled(n),
    lambda n: Slim(n),
    lambda n: decimal.Decimal(n),
    lambda n: fractions.Fraction(n, 7),
    lambda n: range(n),
    lambda n: datetime.timedelta(n),
    lambda n: collections.deque([n]),
    lambda n: {0: n},
    lambda n: collections.OrderedDict(a={1, n}),
    lambda n: Focal(n),
    lambda n: Held(Held(Focal(n))),
]


@pytest.mark.parametrize("make", VALUES, ids=lambda make: repr(make(1))[:20])
@pytest.mark.parametrize(
    "within", [Held, lambda value: Held(value, "_value"), scaled, lambda value: functools.partial(scaled, value)]
)
def test_whatever_value_a_function_or_an_object_holds_counts(make: Any, within: Any) -> None:
    one, same, other = (digest_of(within(make(n))) for n in (1, 1, 2))
    assert one == same != other


def test_what_has_no_value_of_its_own_is_left_out() -> None:
    for make in (threading.Lock, lambda: iter([1]), lambda: np, lambda: weakref.ref(Focal)):
        assert digest_of(Held(make())) == digest_of(Held(make()))


def test_what_a_class_is_derived_from_counts() -> None:
    def made(q: int) -> Any:
        namespace: dict[str, Any] = {"__name__": "notebook"}
        exec(
            f"class Base:\n  q = {q}\n  def __call__(self, o, l): return o * self.q\nclass Loss(Base): pass", namespace
        )
        return namespace["Loss"]()

    assert digest_of(made(1)) == digest_of(made(1)) != digest_of(made(2))


def test_a_global_that_has_the_name_of_an_attribute_does_not_count() -> None:
    def made(text: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "notebook"}
        exec(f"{text}\ndef loss(output, label): return (output - label).mean(axis=1)", namespace)
        return namespace["loss"]

    assert digest_of(made("mean = 1")) == digest_of(made("mean = 2")) == digest_of(made(""))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("def focal(x): return x", "def focal(x): return -x"),
        ("class focal:\n  def __new__(cls, x): return x", "class focal:\n  def __new__(cls, x): return -x"),
        ("class Of:\n  rate = 1\n  def __call__(self, x): return x\nfocal = Of()",
         "class Of:\n  rate = 2\n  def __call__(self, x): return x\nfocal = Of()"),
    ],
)  # fmt: skip
def test_what_a_function_calls_in_its_own_module_counts(before: str, now: str) -> None:
    def made(text: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "notebook"}
        exec(f"{text}\ndef loss(output, label): return focal(output) - label + other(loss)", namespace)
        return namespace["loss"]

    assert digest_of(made(before)) == digest_of(made(before)) != digest_of(made(now))


HELPED = {
    "a name": "from {0} import f\ndef loss(o, l): return f(o)",
    "a module": "import {0}\ndef loss(o, l): return {0}.f(o)",
    "inside": "def loss(o, l):\n  from {0} import f\n  return f(o)",
    "a class": "from {0} import Of\ndef loss(o, l): return Of()(o)",
    "a path": "import json\ndef loss(o, l):\n  import {0} as h\n  return h.f(o), json.dumps",
}


@pytest.mark.parametrize("way", HELPED)
def test_what_a_function_calls_in_other_modules_of_the_users_counts(way: str, tmp_path: Path) -> None:
    def digest(scale: int) -> str:
        (tmp_path / "helping.py").write_text(
            f"def g(x): return {scale} * x\ndef f(x): return g(x)\nclass Of:\n  def __call__(self, x): return f(x)\n"
        )
        (tmp_path / "helped.py").write_text(HELPED[way].format("helping"))
        program = "from helped import loss; from mxspark.job.digest import digest_of; print(digest_of(loss))"
        path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
        command = [sys.executable, "-B", "-c", program]  # no bytecode: both are written within a second
        env = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    assert digest(1) == digest(1) != digest(2)


def test_a_digest_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nW = np.arange(3)\nNAMES = {'b', 'a'}\nclass Loss:\n"
        "  def __init__(self): self._a, self.by = 1, {'x': [1], 'y': {2, 3}}\n"
        "  def __call__(self, o, l): return helper(o) * W\ndef helper(o): return o if NAMES else loss\nloss = Loss()\n"
    )
    program = "from mine import loss; from mxspark.job.digest import digest_of; print(digest_of(loss))"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1 and found != {"\n"}


def test_a_global_of_a_function_inside_counts() -> None:
    namespaces: list[dict[str, Any]] = []
    for rate in ("{'lr': 1}", "{'lr': 2}"):
        namespaces.append({})
        exec(f"RATE = {rate}\ndef make():\n    return lambda: RATE\n", namespaces[-1])
    assert digest_of(namespaces[0]["make"]) != digest_of(namespaces[1]["make"])


def test_a_function_with_arguments_has_the_name_of_the_function_in_every_process() -> None:
    assert label_of(functools.partial(functools.partial(scaled, 2), 3)) == f"{__name__}:scaled"
    assert label_of(scaled) == f"{__name__}:scaled"
    assert label_of(Rate(1)) == f"{__name__}:Rate"  # type: ignore[arg-type]


def test_a_loop_over_settings_without_a_job_dir_is_as_many_jobs() -> None:
    dirs = {
        job(optimizer={"name": "sgd", "learning_rate": 0.1}).job_dir,
        job(optimizer={"name": "sgd", "learning_rate": 0.01}).job_dir,
        job(loss=scaled(2)).job_dir,
        job(loss=scaled(3)).job_dir,
        job(network=functools.partial(recursive(), 3)).job_dir,
        job(seed=1).job_dir,
        job(batch_size=32).job_dir,
        job(loss={"name": "l2", "weight": 2.0}).job_dir,
        job(loss=Focal(1)).job_dir,
        job(loss=Focal(2)).job_dir,
        job(loss=scaled(np.array([1, 9]))).job_dir,
        job(loss=scaled(np.array([1, 8]))).job_dir,
    }
    assert len(dirs) == 12 and all(path.startswith("runs/job-") for path in dirs)
    assert job(epochs=9, exchange="kvstore").job_dir == job().job_dir, "the same job, gone on with"
    named = JobConfig.from_dict(
        {
            "job": {"dir": "mine"},
            "data": {"features": ["x"], "label": "y"},
            "training": {"network": "a:b", "loss": "l2"},
        }
    )
    assert named.job_dir == "mine"
