"""Functions of the user's are held against what their keys take, before they travel; what cannot travel is named."""

from __future__ import annotations

import ast
import functools
import logging
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest

import mxspark
from mxspark.config import modules
from mxspark.config.job_config import JobConfig
from mxspark.errors import ConfigError, InputError
from mxspark.job.signatures import SIGNATURES, Form, Takes, problem
from mxspark.job.spec import Function
from mxspark.spark.run import given

ROOT = Path(__file__).resolve().parents[2]
LOCK = threading.Lock()
SETTINGS = {"locks": [1, LOCK]}


def refusal(**training: Any) -> str:
    """Return the one problem of a job."""
    job = {"data": {"features": ["x"], "label": ["y"]}, "training": {"network": "a.b:c", "loss": "l2", **training}}
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_dict(job)
    (line,) = str(caught.value).splitlines()[1:]
    return line[4:]


def taking(parameters: str) -> Callable[..., Any]:
    """Return a function of such parameters."""
    made: Callable[..., Any] = eval(f"lambda {parameters}: None")
    return made


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("network", ["", "classes=10", "*a, **k"], ["classes", "a, b", "*, classes"]),
        ("loss", ["", "output, label", "output, a, b", "output, label, w=1"], ["output", "output, label, *, w"]),
        ("optimizer", [""], ["params"]),
        ("schedule", ["", "step", "base_lr", "step, low=0"], ["step, low"]),
        ("initializer", [""], ["shape"]),
        ("metric", ["", "labels, outputs"], ["labels", "labels, outputs, w"]),
        ("on_event", ["event", "*events", "event=None"], ["", "event, more"]),
    ],
)
def test_what_can_be_called_as_its_key_says(kind: str, good: list[str], bad: list[str]) -> None:
    for parameters in good:
        assert problem(kind, Takes.of("f", taking(parameters))) is None, parameters
    for parameters in bad:
        said = problem(kind, Takes.of("f", taking(parameters)))
        assert said is not None and f"give a function {SIGNATURES[kind]}" in said, parameters


@pytest.mark.parametrize("parameters", ["", "a", "a, b=1", "a, /, b", "*a", "a, *, k", "a, *, k=1"])
def test_source_and_function_say_the_same(parameters: str) -> None:
    (node,) = ast.parse(f"def f({parameters}): pass").body
    assert Takes.of_source("f", node) == Takes.of("f", taking(parameters))


def test_what_cannot_be_known_is_let_pass() -> None:
    assert Takes.of("min", min) is None and problem("network", None) is None
    (decorated,) = ast.parse("@with_classes(10)\ndef build(classes): pass").body
    assert Takes.of_source("build", decorated) is None


def test_a_class_is_called_without_arguments() -> None:
    class Fading:
        def __init__(self, rate: float) -> None:
            self.rate = rate

    assert "takes (rate); give a function schedule(step)" in str(problem("schedule", Takes.of("Fading", Fading)))


def test_a_path_is_known_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_net.py").write_text("import nowhere\ndef build(classes):\n    pass\nclass Net:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    (said,) = modules.problems("network", Function("their_net:build", path="their_net:build"))
    assert said.startswith("training.network: their_net:build takes (classes); give a function network() that builds")
    assert not modules.problems("network", Function("their_net:Net", path="their_net:Net"))


def test_the_page_has_a_line_for_each_form() -> None:
    page = (ROOT / "docs/functions.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `") or line.startswith("| | `")]

    def line(key: str, form: Form) -> str:
        return f"| {key} | {' or '.join(f'`{one}`' for one in form.written.split(' or '))} {form.does} |".replace(
            "|  |", "| |"
        )

    assert rows == [
        line(f"`{one.key}`" if place == 0 else "", form)
        for one in SIGNATURES.values()
        for place, form in enumerate(one.forms)
    ]


class Own:
    """Brings all it holds along with a method."""

    def __init__(self) -> None:
        self.lock = LOCK

    def network(self) -> Any:
        return self.lock


def test_what_cannot_travel_is_named_with_its_key_and_variable() -> None:
    local = threading.Lock()

    def closes() -> Any:
        return local

    def calls() -> Any:
        return closes()

    cases: dict[str, Any] = {
        "local": closes,
        "local ": calls,
        "self.lock": Own().network,
        "classes": functools.partial(lambda classes: classes, classes=local),
        "argument 1 of a partial": functools.partial(lambda classes: classes, local),
        "given": lambda given=local: given,
        "held['locks'][1]": (lambda held: lambda: held)(SETTINGS),
    }
    for name, function in cases.items():
        said = refusal(network=function)
        assert f" uses {name.strip()} (_thread.lock), which cannot be sent to a worker: cannot pickle" in said, said
        assert said.startswith("training.network: ") and said.endswith("; make it inside the function, or leave it out")
    loss = refusal(loss=lambda output, label: local)
    assert loss.startswith("training.loss: ") and " uses local (_thread.lock), " in loss


def test_what_is_given_to_train_is_known_before_there_is_a_session() -> None:
    pandas = pytest.importorskip("pandas")
    for data, message in (
        (pandas.DataFrame({"x": [1]}), r"df is a DataFrame \(pandas.*give spark.createDataFrame\(df\)"),
        ([(1, 2)], r"df is a list .* give spark.createDataFrame\(df, "),
        ("rows.parquet", r"df is a str .* give spark.read.parquet\(df\), or leave it out and set data.path"),
        (3, "df is a int .* give a DataFrame or an RDD, or leave it out and set data.path"),
    ):
        with pytest.raises(InputError, match=message):
            given.check(data, None, None)
    with pytest.raises(InputError, match="validation_df is a int"):
        given.check(None, 3, None)
    with pytest.raises(
        InputError, match=r"on_event is a list; give a function on_event\(event\) that takes each event"
    ):
        given.check(None, None, [])
    with pytest.raises(InputError, match=r"on_event: .*lambda.* takes \(\); give a function on_event\(event\)"):
        given.check(None, None, lambda: None)
    given.check(None, None, [].append)


def test_frames_of_spark_connect_and_of_pandas_on_spark_are_told_apart() -> None:
    connected = type("DataFrame", (), {"__module__": "pyspark.sql.connect.dataframe"})
    with pytest.raises(InputError, match=r"df is a DataFrame of Spark Connect, .*without remote"):
        given.check(connected(), None, None)
    of_pandas = type("DataFrame", (), {"__module__": "pyspark.pandas.frame"})
    with pytest.raises(InputError, match=r"df is a DataFrame \(pyspark.pandas.frame\), .* give df.to_spark\(\)"):
        given.check(of_pandas(), None, None)


@pytest.mark.parametrize(
    ("kind", "parameters", "right"),
    [
        ("loss", "y_true, y_pred", "(y_pred, y_true)"),
        ("loss", "target, pred", "(pred, target)"),
        ("loss", "label, output", "(output, label)"),
        ("loss", "labels, weights, logits", "(logits, labels, weights)"),
        ("loss", "y, y_hat", "(y_hat, y)"),
        ("loss", "Y_True, Y_Pred, alpha=1", "(Y_Pred, Y_True)"),
        ("metric", "outputs, labels", "(labels, outputs)"),
        ("metric", "y_pred, y_true", "(y_true, y_pred)"),
        ("loss", "y_pred, y_true", None),
        ("loss", "output, label", None),
        ("loss", "x, y", None),
        ("loss", "pred_labels, true_outputs", None),
        ("loss", "label, other", None),
        ("metric", "y_true, y_score", None),
        ("metric", "a, b", None),
    ],
)
def test_names_that_say_the_opposite_of_what_a_function_gets_are_refused(
    kind: str, parameters: str, right: Optional[str]
) -> None:
    said = problem(kind, Takes.of("mine", taking(parameters)))
    assert (said is None) == (right is None), said
    if right is not None:
        assert said is not None and said.startswith("mine takes (") and said.endswith(f": write it with {right}"), said


def test_names_are_looked_at_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "takes (y_true, y_pred), but a loss gets the output first" in refusal(loss=lambda y_true, y_pred: y_pred)
    assert "but a metric gets the labels first" in refusal(metrics=[lambda outputs, labels: outputs])
    (tmp_path / "their_loss.py").write_text("import nowhere\ndef loss(target, pred):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    (said,) = modules.problems("loss", Function("their_loss:loss", path="their_loss:loss"))
    assert said.endswith("but a loss gets the output first, then the labels: write it with (pred, target)")


@pytest.mark.parametrize(
    ("kind", "parameters", "default"),
    [("loss", "output, label=None", "label"), ("metric", "labels, outputs=None", "outputs"), ("loss", "output", None)],
)
def test_a_default_that_makes_an_option_of_what_is_needed_is_named(
    kind: str, parameters: str, default: Optional[str]
) -> None:
    said = str(problem(kind, Takes.of("mine", taking(parameters))))
    assert said.endswith(f": remove the default of {default}, which makes an option of it") == (default is not None)


def test_an_error_of_the_users_input_has_two_frames_of_ours_unless_debugged(caplog: pytest.LogCaptureFixture) -> None:
    def frames() -> list[str]:
        with pytest.raises(InputError) as caught:
            mxspark.train(config={"data": {"features": ["a"], "label": "y"}, "training": {"network": 3, "loss": "l2"}})
        told = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
        assert ("The above" in told or "During" in told) is False
        return [frame.name for frame in traceback.extract_tb(caught.tb)][1:]

    assert frames() == ["train", "_run"]
    with caplog.at_level(logging.DEBUG, "mxspark"):
        assert frames()[0] == "train" and len(frames()) > 2
