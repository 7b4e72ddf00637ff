"""The best values of a job over its runs, and what names the best epoch."""

from __future__ import annotations

from typing import Any

from mxspark.config.job_config import JobConfig
from mxspark.job.spec import BestBy
from mxspark.protocol.events import EpochEnd
from mxspark.spark.run import bests, options

BETTER = {"loss": "min", "f1": "max"}
SAME = {"loss": "l", "f1": "a"}


def epoch(number: int, **validation: float) -> EpochEnd:
    return EpochEnd(number, number + 1, 1, 1.0, {"loss": 1.0}, validation)


def measured(**training: Any) -> dict[str, str]:
    raw = {"network": "nets:mlp", "loss": "l2", "optimizer": "sgd", **training}
    job = JobConfig.from_dict({"data": {"features": ["x"], "label": "y"}, "training": raw})
    return options.measured(job, options.of(job))


def test_the_best_of_several_runs_is_the_best_of_all_their_epochs() -> None:
    first = bests.with_epochs({}, [epoch(0, loss=0.5, f1=0.9), epoch(1, loss=0.7, f1=float("nan"))], BETTER)
    assert first == {"training": {"loss": 1.0}, "validation": {"loss": 0.5, "f1": 0.9}}
    kept = bests.of_checkpoint(bests.to_meta(first, SAME), SAME)
    assert bests.with_epochs(kept, [epoch(2, loss=0.4, f1=0.8)], BETTER)["validation"] == {"loss": 0.4, "f1": 0.9}
    assert first["validation"]["loss"] == 0.5 and bests.of_checkpoint({}, SAME) == {}


def test_a_value_of_another_measure_is_no_best() -> None:
    meta = bests.to_meta({"validation": {"loss": 0.5, "f1": 0.9}}, SAME)
    other = {**SAME, "f1": "b"}
    assert bests.of_checkpoint(meta, other) == {"validation": {"loss": 0.5}}
    assert bests.of_checkpoint(meta) == {"validation": {"loss": 0.5, "f1": 0.9}}


def test_a_measure_is_its_metric_with_options_code_and_direction_but_not_its_place() -> None:
    before = measured(metrics=["mae", {"name": "f1", "threshold": 0.5}])
    assert before.keys() == {"loss", "mae", "f1"}
    assert measured(metrics=[{"name": "f1", "threshold": 0.5}, "mae"], epochs=3) == before
    other = measured(metrics=["mae", {"name": "f1", "threshold": 0.1}])
    assert [name for name in before if before[name] != other[name]] == ["f1"]
    mine = [
        measured(metrics=[f"statistics:{name}"], best_by={"metric": f"statistics:{name}", "direction": way})
        for name, way in (("mean", "min"), ("mean", "max"))
    ]
    assert mine[0]["statistics:mean"] != mine[1]["statistics:mean"] and mine[0]["loss"] == mine[1]["loss"]


def test_what_becomes_of_the_best_model_is_said_where_another_measure_names_it() -> None:
    best_by = BestBy("f1", "validation", "max")
    meta = {"best_by": "f1", "direction": "max", "best": {"value": 0.9, "epoch": 4}, **bests.to_meta({}, SAME)}
    assert bests.is_same(meta, best_by, SAME) and bests.sought_anew(meta, best_by, SAME) == ""
    assert "f1 is measured otherwise" in bests.sought_anew(meta, best_by, {**SAME, "f1": "b"})
    (loss, least) = (BestBy("loss", "validation", "min"), BestBy("f1", "validation", "min"))
    assert "loss (min is better) names the best epoch now, where f1 (max) did" in bests.sought_anew(meta, loss, SAME)
    assert "of epoch 4 (f1 0.9000)" in bests.sought_anew(meta, least, SAME)
    assert bests.sought_anew({**meta, "best": {"value": None, "epoch": None}}, loss, SAME) == "", "no validation rows"
    old = {"best_by": "f1", "best": {"value": 0.9, "epoch": 4}}  # of a version that kept neither
    assert bests.is_same(old, best_by, SAME) and bests.sought_anew({}, best_by, SAME) == ""
