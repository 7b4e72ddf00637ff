"""One object from YAML or Python; every problem at once, each with its key, its value and what to do."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from mxspark import result
from mxspark.cli import train
from mxspark.config import resolve
from mxspark.config.job_config import _SECTIONS, JobConfig
from mxspark.config.job_file import override, read_yaml
from mxspark.errors import ConfigError
from mxspark.job.spec import BestBy
from mxspark.protocol.events import EpochEnd
from mxspark.report import summary

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
        ({"cluster__servers_on_driver": 3}, "servers_on_driver: 3 is more than the 2 servers there are"),
        ({"training__network": "lenet"}, r"training.network: expected a function or its dotted path .*found 'lenet'"),
        ({"training__loss": 3}, "training.loss: expected a name, a mapping with a name, or a function; found 3"),
        ({"training__best_by": "auc"}, r"best_by is 'auc', but the metrics are \['loss', 'accuracy'\]; name one of"),
        ({"training__best_by": "acuracy"}, r"best_by is 'acuracy', but .*; did you mean accuracy\?"),
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
        ({"data__validation": {"fraction": 0.2, "path": "x"}}, "a job has one kind of validation data"),
        ({"data__label": {"pixels": {}}}, "pixels is both a feature and a label"),
        ({"training__optimizer": {"name": "adam", "learning_rate": float("nan")}}, "training.optimizer"),
        (
            {"cluster__environment": {"OMP_NUM_THREADS": "2", "DMLC_ROLE": "x", "MINE": "1"}},
            "cluster.environment: each role gets DMLC_ROLE, OMP_NUM_THREADS from mxspark; leave them out",
        ),
        ({"transport__mode": "udp"}, "transport.mode: input should be 'local' or 'tcp', found 'udp'"),
        ({"job__dir": ""}, "job.dir: string should have at least 1 character"),
        ({"failure__hang_s": 0}, "failure.hang_s: input should be greater than 0"),
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
        ([nested()], {"metric": nested(), "direction": "min"}, (f"{__name__}:nested.<locals>.error", "min")),
    ],
)
def test_what_names_the_best_epoch_is_settled_in_the_driver(metrics: Any, best_by: Any, settled: Any) -> None:
    raw = digits()
    raw["training"] |= {"metrics": metrics, "best_by": best_by}
    job = JobConfig.from_dict(raw)
    assert resolve.training_spec(job).best_by == BestBy(settled[0], "validation", settled[1])
    assert resolve.better(job)[settled[0]] == settled[1], "in the result's best values too"


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
    assert resolve.training_spec(JobConfig.from_dict(raw)).best_by == BestBy(name, "validation", "max")


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
    lines = dict(summary.rows(result.Result("succeeded", "r", "", metrics=of_all)))
    assert (lines["training loss"], lines["training mine"]) == ("2.0000  (best of this run 0.0000)", "2.0000")


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
    nan = float("nan")
    epochs = tuple(EpochEnd(n, n, 1, 1.0, {"auc": value}, {}) for n, value in enumerate([nan, 0.7, 0.9, nan]))
    for better, best in (("max", 0.9), ("min", 0.7)):
        assert result.summarise(epochs, {"auc": better})["training"]["best"] == {"auc": best}
    (none,) = result.summarise(epochs[:1], {"auc": "max"})["training"]["best"].values()
    assert math.isnan(none)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "holds list, but a job is a mapping"),
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


@pytest.mark.parametrize("file", ["none.yaml", "conf/digits.yaml"])
def test_a_command_line_says_what_to_do_about_it(file: str) -> None:
    result, code = train._train(str(ROOT / file), ["foo"], None)
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
