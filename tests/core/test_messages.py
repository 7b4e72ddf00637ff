"""Every message for a user has a way out: what to do next, in the imperative."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mxspark

PACKAGE = Path(mxspark.__file__).parent
VERBS = (
    "ask", "call", "cast", "change", "check", "choose", "correct", "create", "end", "free", "give", "install", "keep",
    "look", "lower", "make", "mend", "name", "point", "put", "raise", "remove", "rename", "reduce", "report", "restore",
    "return", "run", "see", "select", "set", "start", "stop", "turn", "unset", "use", "wait", "write",
)  # fmt: skip
# After the end of what happened: "…; lower it", "…: use a name", "…. Check the disk", "…, or name another".
WAY_OUT = re.compile(rf"(?:[;:.]|, or|\n)\s*(?:please )?(?:{'|'.join(VERBS)}|did you mean)\b", re.IGNORECASE)
# A mistake of ours is to be reported, which its kind says; what is no error of mxspark's own is made one on its way.
NOT_FOR_USERS = ("InternalError",)
EXCEPTIONS = {
    "config/base.py: {}": "dtypes.refusal, which names those there are; see test_dtypes.py",
    "config/components.py: {}": "lines of the catalog; see test_catalog.py",
    "mx/model/components.py: {}": "the same, asked again in the worker",
    "mx/model/components.py: {}: {}": "signatures.problem, which says what to give",
    "spark/run/given.py: on_event: {}": "the same",
    "mx/model/components.py: training.network {} returned {} where a gluon HybridBlock is needed: {}": "it follows",
    "mx/model/network.py: {}": "losses.against_output, label_shapes, class_weights, which say what to change",
    "mx/model/network.py: label {} has values from {} to {}, but the network {} has {} outputs, for classes 0 to {}: "
    "{}": "it follows",
    "mx/runtime/spark_session.py: {}": "its words, which say where to put the network",
    "mx/model/fit.py: {}": "ends, which says what to set; see test_ends.py",
    "mx/loop/eval_metrics.py: {}": "the same",
    "mx/loop/step.py: {}": "the same",
    "mx/loop/arrays.py: {}": "the same",
    "mx/loop/mxnet_metrics.py: {}": "the same",
    "mx/loop/metrics.py: metric {}: what it returned {}": "parameter_words, which says what to write",
    "mx/model/label_order.py: the loss {}": "the same",
    "mx/model/components.py: training.schedule: {} {}": "the same",
    "jobdir/fixed_file.py: {}": "fixed.refusal, which names --fresh",
    "launch/environment.py: {}": "users.nameless, which says how to get a name",
    "spark/session/session.py: {}": "the same",
    "launch/__main__.py: {}": "master.problem, which says which masters there are",
    "launch/java.py: {}": "java.spoilt, which names the variable to correct",
    "mx/loop/gluon.py: {}": "as fixed_file.py",
    "spark/run/same_network.py: {}": "as fixed_file.py",
    "mx/loop/metrics.py: {}": "metric.cannot_weigh, which says what to use",
    "mx/model/row_axis.py: output {} of the network {}, {}, {}, and rows are what is padded, validated and counted, on "
    "the first axis: {}": "it follows",
    "spark/hadoop/client.py: {}: {}": "its class has a remedy for all of them",
    "spark/run/spooled.py: the data cannot be trained on:\n{}": "a remedy a column; see data/row_problems.KINDS",
    "spark/spool/inputs.py: {}={}: {}": "reader_options and text_files; see test_text_files.py",
    "spark/spool/unreadable.py: {}: {}": "text_files.explain, which says what to write; see test_text_files.py",
    "spark/spool/unreadable.py: {}": "a message of ours from an executor, which has one",
}


@dataclass(frozen=True)
class Made:
    """An error that is made somewhere: in which file, and its message with {} for what is not known before."""

    place: str
    message: str


def literal(node: ast.expr) -> str:
    """Return a message as far as it stands in the text."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(literal, node.values))
    if isinstance(node, ast.FormattedValue):
        return "; report it" if ast.unparse(node.value).endswith(".remedy") else "{}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return literal(node.left) + literal(node.right)
    if isinstance(node, ast.IfExp):
        return literal(node.body)
    return "{}"


def ours() -> set[str]:
    """Return the names of all errors that a user may see."""
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    found = {"MXSparkError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found - set(NOT_FOR_USERS)


def errors_made() -> Iterator[Made]:
    names = ours()
    for path in sorted(PACKAGE.rglob("*.py")):
        place = str(path.relative_to(PACKAGE))
        kinds = names | {"ValueError"} if place.startswith("config/") else names
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in kinds and len(node.args) == 1:
                yield Made(place, literal(node.args[0]))


def test_every_message_says_what_to_do_next() -> None:
    made = list(errors_made())
    without = {f"{one.place}: {one.message}" for one in made if not WAY_OUT.search(one.message)}
    lost = sorted(without - set(EXCEPTIONS))
    assert not lost, "what happened and the values seen need a remedy after them:\n" + "\n".join(lost)
    assert set(EXCEPTIONS) <= without, "an exception that is none any more"
    assert len(made) > 80


def test_a_message_without_a_way_out_is_found() -> None:
    for message in ("cannot read {}: {}", "step {} is committed already; a step is committed once"):
        assert not WAY_OUT.search(message)
    for message in ("{} is a folder; name a file", "no {}: use {}", "it failed.\nlook into the log", "no {}. Check it"):
        assert WAY_OUT.search(message)
