"""One object from YAML or Python; every problem at once, each with its key, its value and what to do."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from mxspark import result
from mxspark.cli import places, train
from mxspark.cli.main import main
from mxspark.config import resolve
from mxspark.config.declared import Declared
from mxspark.config.job_config import _SECTIONS, JobConfig
from mxspark.config.job_file import merge, read_yaml
from mxspark.config.overrides import Override, override
from mxspark.data.spool import ColumnSpec
from mxspark.errors import ConfigError
from mxspark.job.record import Fresh
from mxspark.job.spec import BestBy
from mxspark.protocol.events import EpochEnd
from mxspark.spark.run import outcome
from mxspark.spark.spool import beside

ROOT = Path(__file__).resolve().parents[2]


def digits(**changes: Any) -> dict[str, Any]:
    raw = read_yaml(str(ROOT / "conf/digits.yaml"))
    changed, none = override(raw, [f"{key.replace('__', '.')}={yaml.safe_dump(item)}" for key, item in changes.items()])
    assert not none
    return changed


def problems(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_dict(raw)
    return [line[4:] for line in str(caught.value).splitlines()[1:]]


def test_yaml_and_python_make_the_same_object() -> None:
    from_file = JobConfig.from_yaml(str(ROOT / "conf/digits.yaml"), ["training.epochs=3", "cluster.num_workers=4"])
    raw = digits()
    raw["training"]["epochs"], raw["cluster"]["num_workers"] = 3, 4
    assert JobConfig.from_dict(raw) == from_file
    assert (from_file.training.epochs, from_file.cluster.num_workers, from_file.servers_for(4)) == (3, 4, 2)


def test_paths_of_python_are_paths(tmp_path: Path) -> None:
    raw = digits()
    raw["job"]["dir"], raw["data"]["path"], raw["data"]["validation"] = (
        tmp_path,
        tmp_path / "a",
        {"path": tmp_path / "b"},
    )
    job = JobConfig.from_dict(raw)
    assert (job.job_dir, job.data.path) == (str(tmp_path), f"{tmp_path}/a")
    assert job.data.validation.path == f"{tmp_path}/b"
    read = resolve.configure(ROOT / "conf/digits.yaml", {}, lambda _: ())
    assert read == JobConfig.from_yaml(str(ROOT / "conf/digits.yaml"))


@pytest.mark.parametrize("key", ["gpus", "num_gpus", "gpus_per_worker", "context", "devices"])
def test_that_there_are_no_gpus_is_said(key: str) -> None:
    raw = digits()
    raw["cluster"][key] = 1
    assert problems(raw) == [
        f"cluster.{key}: GPUs are not supported yet, workers train on the cores of CPUs; leave it out"
    ]


def test_a_job_file_without_its_option_is_told_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["train", "job.yaml"], ["check", "--set", "a=b", "job.yaml"]):
        assert main(words) == 2
        assert capsys.readouterr().err == "mxspark: the job file is given by an option; write --config job.yaml\n"


def test_a_second_interrupt_while_a_run_ends_hides_nothing_of_what_it_has_reached() -> None:
    first = KeyboardInterrupt()
    reached = result.Result("interrupted", "r", "Ctrl-C; the same command resumes at step 8")
    first.__dict__["result"] = reached
    with pytest.raises(KeyboardInterrupt) as caught:
        try:
            raise first
        finally:
            raise KeyboardInterrupt
    assert train._kept(caught.value) is reached and train._kept(KeyboardInterrupt()) is None


def test_it_is_frozen() -> None:
    config = JobConfig.from_dict(digits())
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 5  # type: ignore[misc]


def test_every_problem_at_once_with_key_value_and_remedy() -> None:
    raw = digits(training__epochs=0, cluster__num_wrokers=2, checkpoint__keep="many")
    raw["training"]["optimizer"] = {"name": "addam"}
    raw["data"]["features"]["pixels"]["dtpye"] = "float32"
    del raw["data"]["label"]
    raw["trainig"] = {}
    found = "\n".join(problems(raw))
    for line in (
        r"trainig: is not a section; did you mean training\?",
        r"data.features.pixels.dtpye: is not a key; did you mean dtype\?",
        r"data.label: is missing; conf/job.yaml shows what it holds",
        r"cluster.num_wrokers: is not a key; did you mean num_workers\?",
        r"training.optimizer: .*addam.* did you mean 'adam'",
        r"training.epochs: input should be greater than 0, found 0",
        r"checkpoint.keep: input should be a valid integer.*, found 'many'",
    ):
        assert re.search(line, found), f"{line}\nnot in\n{found}"
    assert len(found.splitlines()) == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__batch_size": 1}, "training.batch_size: 1 rows cannot be divided over cluster.num_workers=2"),
        (
            {"cluster__servers_on_driver": 3},
            "servers_on_driver: 3 is more than cluster.num_servers=2, which is the total",
        ),
        (
            {"training__network": "lenet"},
            r"training.network: is 'lenet'; give a function network\(\) that builds a gluon",
        ),
        ({"training__loss": 3}, r"training.loss: is 3; give a name, .*, or a function loss\(output, label\) that"),
        (
            {"training__loss": None},
            r"training.loss: is None; give a name, .*, or a function loss\(output, label\) that",
        ),
        ({"training__metrics": "accuracy"}, r"metrics: expected a list .*, found 'accuracy'; put it into brackets"),
        ({"training__best_by": "auc"}, r"best_by is 'auc', but the metrics are \['loss', 'accuracy'\]; name one of"),
        ({"training__best_by": "acuracy"}, r"best_by is 'acuracy', but .*; did you mean accuracy\?"),
        (
            {"training__metrics": ["a:f1", "b:f1"], "training__best_by": {"metric": "f1", "direction": "max"}},
            r"best_by is 'f1', but the metrics are \['loss', 'a:f1', 'b:f1'\]",
        ),
        ({"training__best_by": {"metrik": "loss"}}, r"best_by.metrik: is not a key; did you mean metric\?"),
        (
            {"training__best_by": {"direction": "less"}},
            r"direction: input should be 'max' or 'min', found 'less'",
        ),
        (
            {"training__metrics": ["m:f1", "m:err"], "training__best_by": {"direction": "min"}},
            "direction min and no metric; name it too: best_by: {metric: m:f1}",
        ),
        ({"training__best_by": {"direction": "min"}}, "says that min is better, but of accuracy it is max; leave"),
        ({"data__validation": 0.2}, "data.validation: is 0.2; write {fraction: 0.2}: a share of the rows"),
        ({"data__validation": "b"}, "data.validation: is 'b'; write {path: 'b'}, or {fraction: 0.2}"),
        ({"job__name": "my job"}, r"job.name: is 'my job', .* letters, digits, \. _ and -, .* for instance my-job"),
        ({"job__id": "_"}, r"job.id: is '_', .* for instance digits-2"),
        ({"cluster__num_workers": "2"}, "cluster.num_workers: is the text '2'; write the number, without quotes: 2"),
        ({"failure__hang_s": "1e2"}, "failure.hang_s: is the text '1e2'; write the number, without quotes: 100"),
        ({"training__class_weights": {"0": "0.5"}}, "class_weights.0: is the text '0.5'; .* without quotes: 0.5"),
        ({"data__validation": {"fraction": 0.2, "path": "x"}}, "a job has one kind of validation data"),
        ({"data__label": {"pixels": {}}}, "pixels is both a feature and a label"),
        ({"training__optimizer": {"name": "adam", "learning_rate": float("nan")}}, "training.optimizer"),
        (
            {"cluster__environment": {"OMP_NUM_THREADS": "2", "DMLC_ROLE": "x", "MINE": "1"}},
            "cluster.environment: each role gets DMLC_ROLE, OMP_NUM_THREADS from mxspark; leave them out",
        ),
        ({"transport__mode": "udp"}, "transport.mode: input should be 'local' or 'tcp', found 'udp'"),
        ({"job__dir": ""}, "job.dir: string should have at least 1 character"),
        *(
            ({"job__dir": path}, rf"job.dir: '.*' has '{re.escape(part)}' in it, which nothing here replaces")
            for path, part in [
                ("~/runs", "~"),
                ("~ann/runs", "~ann"),
                ("$HOME/runs", "$HOME"),
                ("/r/${USER}/x", "${USER}"),
                ("hdfs:///runs/{{ ds }}", "{{ ds }}"),
            ]
        ),
        *(
            ({key: True}, f"{key.replace('__', '.')}: is true; give a number")
            for key in (
                "training__epochs",
                "training__seed",
                "training__batch_size",
                "cluster__num_servers",
                "failure__hang_s",
                "failure__max_restarts",
                "checkpoint__keep",
                "data__block_rows",
            )
        ),
        ({"data__validation": {"fraction": False}}, "data.validation.fraction: is false; give a number"),
        ({"data__features": {"pixels": {"shape": [True, 64]}}}, "data.features.pixels.shape.0: is true; give a num"),
        ({"failure__hang_s": 0}, "failure.hang_s: input should be greater than 0"),
        *(
            ({f"data__{key}": {name: {"scale": 0}}}, f"{key}.{name}.scale: is 0, which would make 0 of every value; gi")
            for key, name in (("features", "pixels"), ("label", "digit"))
        ),
    ],
)
def test_bad_values(changes: dict[str, Any], message: str) -> None:
    raw = digits()
    for key, value in changes.items():
        section, name = key.split("__")
        raw.setdefault(section, {})[name] = value
    found = problems(raw)
    assert len(found) == 1
    assert re.search(message, found[0]), found[0]


def test_functions_and_names_alone() -> None:
    raw = digits()
    raw["training"] |= {"network": lambda: None, "loss": "my.module:loss", "metrics": ["accuracy", lambda y, p: y]}
    raw["data"] |= {"label": "digit", "features": ["a", "b"]}
    config = JobConfig.from_dict(raw)
    assert config.training.network.pickle and config.training.network.path is None
    assert config.training.loss.function is not None and config.training.loss.function.path == "my.module:loss"
    assert [spec.name for spec in (*config.features(), *config.labels())] == ["a", "b", "digit"]


def nested() -> Any:
    def error(labels: Any, outputs: Any) -> Any:
        return labels != outputs

    return error


def weighed(factor: float) -> Any:
    def error(labels: Any, outputs: Any) -> Any:
        return factor * (labels - outputs)

    return error


def test_functions_of_one_name_are_told_apart() -> None:
    raw = digits()
    raw["training"] |= {
        "metrics": [weighed(1.0), weighed(2.0)],
        "best_by": {"metric": weighed(2.0), "direction": "min"},
    }
    assert JobConfig.from_dict(raw).training.best_metric == f"{__name__}:weighed.<locals>.error_2"
    raw["training"]["best_by"]["metric"] = weighed(3.0)
    with pytest.raises(ConfigError, match=r"weighed.<locals>.error that does something else; give the same function"):
        JobConfig.from_dict(raw)


@pytest.mark.parametrize(
    ("metrics", "best_by", "settled"),
    [
        ([], None, ("loss", "min")),
        (["accuracy"], None, ("accuracy", "max")),
        (["accuracy"], "loss", ("loss", "min")),
        (["accuracy", "rmse"], "rmse", ("rmse", "min")),
        ([{"name": "top_k_accuracy", "k": k} for k in (1, 5)], "top_k_accuracy_2", ("top_k_accuracy_2", "max")),
        (["team.metrics:f1"], None, ("loss", "min")),
        (["team.metrics:f1", "rmse"], None, ("rmse", "min")),
        (["team.metrics:f1"], {"direction": "max"}, ("team.metrics:f1", "max")),
        (["confusion"], {"metric": "confusion_fn"}, ("confusion_fn", "min")),
        (["team.metrics:f1"], {"direction": "min"}, ("team.metrics:f1", "min")),
        (["mxnet.metric:RMSE"], None, ("mxnet.metric:RMSE", "min")),
        (["mxnet.metric:RMSE", "team.metrics:off"], "RMSE", ("mxnet.metric:RMSE", "min")),
        ([nested()], {"metric": "error", "direction": "min"}, (f"{__name__}:nested.<locals>.error", "min")),
        (["rmse", "team.metrics:rmse"], "rmse", ("rmse", "min")),
        ([lambda labels, outputs: 1], {"metric": "<lambda>", "direction": "min"}, (f"{__name__}:<lambda>", "min")),
        ([nested()], {"metric": nested(), "direction": "min"}, (f"{__name__}:nested.<locals>.error", "min")),
    ],
)
def test_what_names_the_best_epoch_is_settled_in_the_driver(metrics: Any, best_by: Any, settled: Any) -> None:
    raw = digits()
    raw["training"] |= {"metrics": metrics, "best_by": best_by}
    job = JobConfig.from_dict(raw)
    assert job.training.spec().best_by == BestBy(settled[0], "validation", settled[1])
    assert job.training.better()[settled[0]] == settled[1], "in the result's best values too"


def rmse_of_mxnet() -> Any:
    """Only the worker sees what this returns."""


@pytest.mark.parametrize("given", ["team.metrics:f1", {"metric": "team.metrics:f1"}, rmse_of_mxnet])
def test_the_better_direction_of_a_function_must_be_said(given: Any) -> None:
    raw = digits()
    raw["training"] |= {"metrics": ["accuracy", "team.metrics:f1", rmse_of_mxnet], "best_by": given}
    (found,) = problems(raw)
    name = f"{__name__}:rmse_of_mxnet" if given is rmse_of_mxnet else "team.metrics:f1"
    assert f"best_by is {name}, of which only you know what is better; set best_by: {{metric: {name!r}, " in found
    raw["training"]["best_by"] = {"metric": name, "direction": "max"}  # as it says
    assert JobConfig.from_dict(raw).training.spec().best_by == BestBy(name, "validation", "max")


def test_a_function_that_is_passed_over_is_told() -> None:
    raw = digits()
    raw["training"] |= {"metrics": ["team.metrics:f1", "rmse"]}
    job = JobConfig.from_dict(raw)
    (line,) = resolve.unsaid(job, has_validation=True)
    assert line.startswith(
        "the best epoch is that of the best rmse, as of team.metrics:f1 only you know what is better"
    )
    assert "set training.best_by: {metric: 'team.metrics:f1', direction: max}" in line
    raw["training"]["best_by"] = {"metric": "team.metrics:f1", "direction": "max"}
    assert not resolve.unsaid(JobConfig.from_dict(raw), has_validation=True)


def test_the_best_value_of_a_function_is_not_guessed() -> None:
    epochs = tuple(EpochEnd(n, n, 1, 1.0, {"loss": float(n), "mine": float(n)}, {}) for n in range(3))
    of_all = result.summarise(epochs, {"loss": "min"})
    assert of_all == {"training": {"last": {"loss": 2.0, "mine": 2.0}, "best": {"loss": 0.0}}}
    lines = dict(result.rows(result.Result("succeeded", "r", "", metrics=of_all, history=epochs, epochs=3)))
    assert (lines["training loss"], lines["training mine"]) == ("2.0000  (best 0.0000)", "2.0000")
    named = {"training": {"last": {"__main__:off": 1.0, "a:f1": 2.0, "b:f1": 3.0}, "best": {}}}
    shown = dict(result.rows(result.Result("succeeded", "r", "", metrics=named, epochs=1)))
    assert shown == {
        "epochs": "1  (0 steps)",
        "training off": "1.0000",
        "training a:f1": "2.0000",
        "training b:f1": "3.0000",
    }
    of_one = result.Result("succeeded", "r", "", metrics=result.summarise(epochs[2:], {"loss": "min"}), epochs=1)
    assert dict(result.rows(of_one))["training loss"] == "2.0000"


def test_a_result_is_shown_as_one_block_and_says_what_no_checkpoint_has() -> None:
    epochs = tuple(EpochEnd(n, 8 * n + 8, 1, 1.0, {"loss": 2.5 - n}, {}) for n in range(2))
    reached = result.Result(
        "interrupted", "r", "Ctrl-C", 2, 17, history=epochs, checkpoint="/job/checkpoints/s00000008-t000001"
    )
    assert repr(reached).splitlines() == [
        "Result: interrupted: Ctrl-C",
        "  epochs      2  (17 steps; the newest checkpoint is of step 8)",
        "  checkpoint  /job/checkpoints/s00000008-t000001",
    ]
    assert dict(result.rows(replace(reached, checkpoint=None)))["epochs"] == "2  (17 steps; no checkpoint has them)"
    assert dict(result.rows(replace(reached, seconds={"check": 0.1})))["run"] == "r"
    for at_its_checkpoint in (replace(reached, steps=8), replace(reached, status="succeeded")):
        assert dict(result.rows(at_its_checkpoint))["epochs"].endswith(" steps)")


@pytest.mark.parametrize(
    ("fresh", "checkpoint", "message"),
    [
        (None, "/c/s00000008-t000001", "Ctrl-C; the same command resumes at step 8"),
        (None, None, "Ctrl-C; the same command resumes from the start: no checkpoint was made yet"),
        (Fresh("mine"), "/c/s00000008-t000001", "Ctrl-C; the same command resumes at step 8"),
        (Fresh(None), "/c/s00000008-t000001", "Ctrl-C; the same command without --fresh resumes at step 8"),
    ],
)
def test_what_the_same_command_does_next_is_told_as_it_is(fresh: Any, checkpoint: Any, message: str) -> None:
    reached = result.Result("interrupted", "r", "", 1, 9, checkpoint=checkpoint)
    assert outcome.interrupted_message("Ctrl-C", reached, fresh) == message
    failed = outcome.advised(replace(reached, remedy="start the same command again"), fresh)
    starts_over = fresh is not None and fresh.command is None
    assert ("Give it without --fresh (job.fresh) then" in failed.remedy) == starts_over


def test_metrics_that_would_take_probabilities_for_scores_are_refused() -> None:
    raw = digits()
    raw["training"]["loss"] = {"name": "sigmoid_binary_cross_entropy", "from_sigmoid": True}
    raw["training"]["metrics"] = ["f1", "binary_accuracy", "log_loss", "auc", {"name": "f1", "average": "macro"}]
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_dict(raw)
    said = str(caught.value)
    assert said.count("which makes it probabilities") == 3
    assert "f1 takes the output for scores" in said and "give it threshold: 0.5" in said
    assert "log_loss takes the output for scores" in said and "give it of: probabilities" in said
    raw["training"]["metrics"] = [{"name": "f1", "threshold": 0.5}, {"name": "log_loss", "of": "probabilities"}, "auc"]
    JobConfig.from_dict(raw)
    raw["training"] |= {"metrics": ["f1"], "loss": "sigmoid_binary_cross_entropy"}
    JobConfig.from_dict(raw)


def test_an_epoch_without_a_value_is_never_the_best() -> None:
    nan, inf = float("nan"), float("inf")
    epochs = tuple(EpochEnd(n, n, 1, 1.0, {"auc": value}, {}) for n, value in enumerate([nan, 0.7, inf, 0.9, nan]))
    for better, best in (("max", 0.9), ("min", 0.7)):
        assert result.summarise(epochs, {"auc": better})["training"]["best"] == {"auc": best}
    (none,) = result.summarise(epochs[:1], {"auc": "max"})["training"]["best"].values()
    assert math.isnan(none)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", r"holds a list, but a job is sections with keys, .* data: \{path: \.\.\., .*; write one as .*job.yaml"),
        ("a: [", "is not YAML"),
        ("a: !!python/object/apply:os.getpid []", "a: the tag .*os.getpid on line 1 is not read"),
    ],
)
def test_files_that_are_no_jobs(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        JobConfig.from_yaml(str(path))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot read the job file .*none.yaml: No such file.*; name one that can be"
    ):
        JobConfig.from_yaml(str(tmp_path / "none.yaml"))


def test_bad_overrides_are_reported_with_all_other_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_yaml(str(ROOT / "conf/digits.yaml"), ["training.epochs=banana", "foo", "job.name=[", "=3"])
    found = str(caught.value)
    for line in (
        "--set foo: is not KEY=VALUE; write for instance --set training.epochs=3",
        "--set job.name=[: it is not YAML: while parsing",
        "--set =3: is not KEY=VALUE",
        "training.epochs: input should be a valid integer",
    ):
        assert line in found
    assert found.startswith("4 problems in ") and len(found.splitlines()) == 5
    assert "on the command line" in caught.value.remedy


@pytest.mark.parametrize(
    ("sets", "lines"),
    [
        (["training.epoch=3"], [
            "training.epoch: is not a key; did you mean epochs? (given by --set training.epoch=3)"]),
        (["training.batch_size=4", "cluster.num_workers=8"], [
            "training.batch_size: 4 rows cannot be divided over cluster.num_workers=8; it counts the rows of all "
            "workers together, raise it (given by --set training.batch_size=4, --set cluster.num_workers=8)"]),
        (["training.best_by=auc", "training.epochs=3"], [
            "training: best_by is 'auc', but the metrics are ['loss', 'accuracy']; name one of them (given by --set "
            "training.best_by=auc)"]),
        (["training.loss={name: l2, weigth: 1}"], [
            "training.loss: loss l2 has no option 'weigth': did you mean 'weight'? (given by --set training.loss={"
            "name: l2, weigth: 1})"]),
        (["training.epochs=3", "training.epochs=4"], [
            "--set training.epochs=4: training.epochs is set by --set training.epochs=3 too; leave one of them"]),
        (["job.name=a", "job={name: b c}"], [
            "--set job={name: b c}: job.name is set by --set job.name=a too; leave one of them",
            "job.name: is 'b c', and it becomes part of paths; use letters, digits, . _ and -, with a letter of a to "
            "z or a digit first, for instance b-c (given by --set job.name=a, --set job={name: b c})"]),
        ([Override('job.id="a b"', "--job-id a b")], [
            "job.id: is 'a b', and it becomes part of paths; use letters, digits, . _ and -, with a letter of a to z "
            "or a digit first, for instance a-b (given by --job-id a b)"]),
        (["job.fresh=false", Override("job.fresh=true", "--fresh")], [
            "--fresh: job.fresh is set by --set job.fresh=false too; leave one of them"]),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_not_the_files(sets: Any, lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_yaml(str(ROOT / "conf/digits.yaml"), sets)
    count = f"{len(lines)} problem{'s' * (len(lines) > 1)} in the command line:"
    assert str(caught.value).splitlines() == [count, *(f"  - {line}" for line in lines)]


def test_mistakes_of_the_file_and_of_the_command_line_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text((ROOT / "conf/digits.yaml").read_text() + "failure: {hang_s: many}\n")
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_yaml(str(path), ["training.epochs=banana"])
    first, epochs, hang = str(caught.value).splitlines()
    assert first == f"2 problems in {path} and the command line:"
    assert epochs.endswith("found 'banana' (given by --set training.epochs=banana)") and hang.endswith("found 'many'")
    with pytest.raises(ConfigError, match=rf"1 problem in {path}:"):
        JobConfig.from_yaml(str(path), ["training.epochs=3"])


def test_options_of_the_command_line_are_told_as_they_are_given() -> None:
    given = argparse.Namespace(take_over=False, fresh=True, job_id="")
    assert [one.said for one in train._flags(given)] == ["--fresh", "--job-id "]
    with pytest.raises(ConfigError, match=r"job.id: is '', and .* letters, .* \(given by --job-id \)"):
        JobConfig.from_yaml(str(ROOT / "conf/digits.yaml"), train._flags(given))


@pytest.mark.parametrize(
    ("key", "short", "option", "full"),
    [
        ("data.features", ["a", "b"], {"a": {"dtype": "int32"}}, {"a": {"dtype": "int32"}, "b": {}}),
        ("data.features", "a", {"a": {"dtype": "int32"}}, {"a": {"dtype": "int32"}}),
        ("data.label", 7, {"y": {}}, {"7": {}, "y": {}}),
        ("data.weight", "w", {"w": {"dtype": "float64"}}, {"w": {"dtype": "float64"}}),
        ("training.optimizer", "sgd", {"momentum": 0.9}, {"name": "sgd", "momentum": 0.9}),
        ("training.optimizer", "sgd", {"name": "adam"}, {"name": "adam"}),
        ("training.best_by", "rmse", {"direction": "min"}, {"metric": "rmse", "direction": "min"}),
        ("cluster.environment", None, {"A": "b"}, {"A": "b"}),
    ],
)
def test_an_option_of_what_is_named_alone_takes_nothing_away(key: str, short: Any, option: Any, full: Any) -> None:
    section, name = key.split(".")
    assert merge({section: {name: short}}, {section: {name: option}}) == {section: {name: full}}
    changed, none = override({section: {name: short}}, [f"{key}={yaml.safe_dump(option, default_flow_style=True)}"])
    assert (changed, none) == ({section: {name: full}}, [])


@pytest.mark.parametrize("file", ["none.yaml", "conf/digits.yaml"])
def test_a_command_line_says_what_to_do_about_it(file: str) -> None:
    result, code = train._train(str(ROOT / file), ["foo", "data.path=hdfs:///no/rows/here"], None)
    assert code == 2 and result.remedy == ConfigError.remedy


def keys_of(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


def test_the_documented_job_is_complete_and_says_the_true_defaults() -> None:
    text = (ROOT / "conf/job.yaml").read_text()
    documented = yaml.safe_load(text)
    assert set(documented) == set(_SECTIONS)
    defaults = JobConfig.from_dict(
        {"data": {"features": ["x"], "label": ["y"]}, "training": {"network": "a:b", "loss": "l2"}}
    )
    required = set(re.findall(r"^\s+(\w+):.*\(required\)", text, re.M))
    assert required == {"features", "label", "network", "loss"}
    for name, model in _SECTIONS.items():
        assert set(documented[name]) == keys_of(model), f"keys of {name}"
        for key in keys_of(model) - required - {"validation", "optimizer", "best_by"}:
            true = getattr(getattr(defaults, name), key)
            said = documented[name][key]
            named = getattr(true, "name", true) if key in ("initializer",) else true
            assert said == (list(named) if isinstance(named, tuple) else named) or (name, key) in SHOWN_BY_EXAMPLE
    from mxspark.config.data_section import Feature, Label, Validation
    from mxspark.config.sections import BestBySection

    assert set(documented["data"]["features"]["pixels"]) == keys_of(Feature)
    assert set(documented["data"]["label"]["digit"]) == keys_of(Label)
    assert set(documented["data"]["validation"]) == keys_of(Validation)
    assert documented["training"]["best_by"] == BestBySection().model_dump()


SHOWN_BY_EXAMPLE = {("job", "name"), ("job", "dir")}


def test_the_documented_job_and_the_example_are_valid() -> None:
    for name in ("job.yaml", "digits.yaml"):
        assert JobConfig.from_yaml(str(ROOT / "conf" / name)).training.network.path == "spark_jobs.networks:lenet"


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_a_feature_of_bytes_with_a_scale_stays_bytes_until_it_is_read(dtype: str) -> None:
    features = {"x": {"dtype": dtype, "scale": 0.5}, "y": {"dtype": dtype}, "z": {"dtype": "int32", "scale": 2.0}}
    x, y, z = JobConfig.from_dict(merge(digits(), {"data": {"features": features}})).features()[-3:]
    assert (x.dtype, x.scale, x.spooled_dtype, x.scale_of_spool, x.scale_of_reader) == ("float32", 0.5, dtype, 1.0, 0.5)
    assert (y.dtype, y.spooled_dtype, y.scale_of_reader) == (dtype, dtype, 1.0)
    assert (z.dtype, z.spooled_dtype, z.scale_of_spool, z.scale_of_reader) == ("int32", "int32", 2.0, 1.0)


def test_a_path_with_a_tilde_or_a_brace_elsewhere_is_a_path() -> None:
    for path in ("runs/a~b", "runs/{a}", "runs/100$", "file:///x/~y"):
        assert JobConfig.from_dict(digits(job__dir=path)).job_dir == path


def test_a_key_that_says_the_default_is_no_other_job() -> None:
    raw = {"data": {"features": ["x"], "label": "y"}, "training": {"network": "a:b", "loss": "l2"}}
    said = {**raw, "data": {**raw["data"], "shuffle": "rows", "weight": None, "features": {"x": {"scale": 1.0}}}}
    assert JobConfig.from_dict(raw).job_dir == JobConfig.from_dict(said).job_dir
    said["data"]["shuffle"] = "none"
    assert JobConfig.from_dict(raw).job_dir != JobConfig.from_dict(said).job_dir


def test_a_label_among_the_columns_of_a_feature_is_told() -> None:
    def told(**features: Any) -> list[str]:
        raw = {"data": {"features": features, "label": "y"}, "training": {"network": "a:b", "loss": "l2"}}
        return resolve.given_away(JobConfig.from_dict(raw))

    (line,) = told(x={"columns": ["a", "y"]})
    assert line.startswith(
        "data.features.x has the label 'y' among its columns, so that the network is given the answer"
    )
    assert told(x={"columns": ["a", "b"]}, same={"columns": ["y"]}) == [], "an autoencoder says so"


def test_a_class_that_is_the_feature_itself_is_told() -> None:
    def told(loss: str, **data: Any) -> list[str]:
        raw = {"data": {"features": ["a"], "label": "y", **data}, "training": {"network": "a:b", "loss": loss}}
        return resolve.given_away(JobConfig.from_dict(raw))

    (line,) = told("softmax_cross_entropy", features={"tokens": {"columns": ["y"]}})
    assert line.startswith("data.features.tokens is the label 'y' itself, so that the network is given the answer")
    assert told("l2", features={"same": {"columns": ["y"]}}) == told("softmax_cross_entropy") == []


def test_what_is_not_there_is_told_with_what_is_misspelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").touch()
    file = tmp_path / "job.yaml"
    file.write_text(
        "data: {path: none.csv, format: csv, features: [x], label: y, validation: {path: 'file:none/*.csv'}}\n"
        "training: {network: 'no_net:build', loss: l2, metrics: ['no_metric:of', 'mxnet.metric:Nothing'], epoch: 3}\n"
    )
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    monkeypatch.delenv("YARN_CONF_DIR", raising=False)
    asked = []

    def start(*given: Any) -> Any:
        asked.append(given)
        raise RuntimeError("no Java here")

    monkeypatch.setattr(beside, "start", start)
    local = places.look_closely(None)

    def told(look: Any, *sets: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            JobConfig.from_yaml(str(file), sets, look)
        return [line[4:] for line in caught.value.message.splitlines()[1:]]

    epoch, network, metric, path = told(local)
    assert epoch == "training.epoch: is not a key; did you mean epochs?"
    assert network.startswith("training.network: there is no module 'no_net' in the working directory")
    assert metric.startswith("training.metrics: there is no module 'no_metric'")
    assert path == f"data.path: there is no 'none.csv' on this machine ({tmp_path}/none.csv); correct it"
    assert told(local, "data.path=here.csv") == [epoch, network, metric]
    assert asked == [("mxspark", None)] * 2, "for the validation rows, and both; what has Spark not start hides nothing"
    assert told(local, f"data.path=file://{tmp_path}/here.csv") == [epoch, network, metric]
    assert told(local, "data.path=file:///none")[-1].endswith(
        "(/none); correct it (given by --set data.path=file:///none)"
    )
    for elsewhere in ("data.path=hdfs://nn/none", "data.format=jdbc"):
        assert told(local, elsewhere) == [epoch, network, metric]
    asked.clear()
    assert told(local, "data.options=[]") and told(local, "data.format=jdbc") and not asked, (
        "what is to be read is not known"
    )
    assert told(places.look_closely("yarn")) == [epoch, network, metric], "it may be one of HDFS"
    monkeypatch.setenv("HADOOP_CONF_DIR", "/etc/hadoop")
    assert told(places.look_closely(None)) == [epoch, network, metric]
    monkeypatch.delenv("HADOOP_CONF_DIR")
    assert told(places.look(None)) == [epoch, network, metric, path]
    assert not asked, "to train is refused at once"


def test_sections_that_are_right_are_held_against_each_other_beside_one_that_is_not() -> None:
    raw = digits(training__batch_size=1, data__label={"digit": {"scale": 2}}, cluster__num_wrokers=2)
    assert [line.partition(":")[0] for line in problems(raw)] == ["cluster.num_wrokers", "data.label.digit.scale"]
    raw = digits(training__batch_size=1, data__lable="x", transport__mod="tcp")
    assert [line.partition(":")[0] for line in problems(raw)] == [
        "data.lable", "transport.mod", "training.batch_size",
    ]  # fmt: skip


def test_of_a_job_with_mistakes_what_is_right_is_relied_on() -> None:
    data = {
        "path": "rows.csv",
        "format": "csv",
        "features": {"a": None, "b": {"dtpye": "int32"}, "c": {"columns": ["d", "e"], "scale": 2}, 7: {"shape": [-1]}},
        "label": "y",
        "weight": ["w", "w"],
        "validation": {"path": "others.csv"},
    }
    declared = Declared.of({"data": data, "training": 3})
    assert [(array.name, array.columns, array.scale) for array in declared.arrays] == [
        ("a", ("a",), 1.0),
        ("c", ("d", "e"), 2.0),
        ("y", ("y",), 1.0),
    ]
    assert declared.paths == {"data.path": "rows.csv", "data.validation.path": "others.csv"}
    assert declared.source is not None and declared.source.format == "csv"
    assert Declared.of({"data": {**data, "label": "a", "features": ["a"]}}).arrays == (
        ColumnSpec("a", ("a",), None, "float32"),
    )
    for wrong in ({"fromat": "csv"}, {"options": []}, {"path": []}):
        unknown = Declared.of({"data": {**data, "path": "x", **wrong}})
        assert len(unknown.arrays) == 3 and unknown.source is None and not unknown.paths, wrong
    assert Declared.of({"data": {**data, "validation": {"fraction": 2}}}).paths == {"data.path": "rows.csv"}
    assert Declared.of({"data": ["x"]}) == Declared.of({}) == Declared()
