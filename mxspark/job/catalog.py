"""The names a job may use for its loss, optimizer, schedule, initializer and metrics, and the options of each.

The driver checks a job against these tables without importing MXNet; a test holds every entry against MXNet itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Optional

from mxspark.errors.spelling import closest
from mxspark.job.option import Option


@dataclass(frozen=True)
class Known:
    """What stands behind a name.

    Attributes
    ----------
    target : str
        Name of the class in MXNet's module for this kind; for a metric, what it is called in ``mxspark.mx.loop``.
    options : mapping of str to Option
        Everything else is refused.
    better : str
        For a metric: ``max`` or ``min``.
    parts : mapping of str to str
        For a metric of several values: the better direction of each, by what follows the metric's name in its own.
    needs_all : bool
        For a metric: whether it is worked out from all rows at once, and so of validation rows only.
    """

    target: str
    options: Mapping[str, Option] = field(default_factory=dict)
    better: str = "min"
    parts: Mapping[str, str] = field(default_factory=dict)
    needs_all: bool = False


def _table(**entries: Known) -> Mapping[str, Known]:
    return MappingProxyType(entries)


ANY = Option()
POSITIVE = Option(low=0, open="(")
NOT_NEGATIVE = Option(low=0)
DECAY = Option(low=0, high=1, open=")")
BOOLEAN = Option("boolean")
COUNT = Option("integer", low=0)
AXIS = Option("integer", zero_is="the axis of the rows")

_WEIGHT = {"weight": POSITIVE}
_MARGIN = {"margin": POSITIVE, **_WEIGHT}

#: Losses of ``mxnet.gluon.loss`` that take (prediction, label) and give one value a row.
LOSSES = _table(
    softmax_cross_entropy=Known(
        "SoftmaxCrossEntropyLoss", {"axis": AXIS, "sparse_label": BOOLEAN, "from_logits": BOOLEAN, **_WEIGHT}
    ),
    sigmoid_binary_cross_entropy=Known("SigmoidBinaryCrossEntropyLoss", {"from_sigmoid": BOOLEAN, **_WEIGHT}),
    l1=Known("L1Loss", _WEIGHT),
    l2=Known("L2Loss", _WEIGHT),
    huber=Known("HuberLoss", {"rho": POSITIVE, **_WEIGHT}),
    hinge=Known("HingeLoss", _MARGIN),
    squared_hinge=Known("SquaredHingeLoss", _MARGIN),
    logistic=Known("LogisticLoss", {"label_format": Option("text", choices=("signed", "binary")), **_WEIGHT}),
    kl_div=Known("KLDivLoss", {"from_logits": BOOLEAN, "axis": AXIS, **_WEIGHT}),
    ctc=Known("CTCLoss", _WEIGHT),
)

_COMMON = {"wd": NOT_NEGATIVE, "clip_gradient": POSITIVE, "multi_precision": BOOLEAN}
_STEP = {"learning_rate": POSITIVE, **_COMMON}
_BETAS = {"beta1": DECAY, "beta2": DECAY, **_STEP}
_ADAM = {**_BETAS, "epsilon": POSITIVE}
_RMS = {"gamma1": DECAY, "gamma2": DECAY, "epsilon": POSITIVE, "centered": BOOLEAN, "clip_weights": POSITIVE}

#: Optimizers of ``mxnet.optimizer`` whose update is a function of the weights, the gradients and a state of arrays.
OPTIMIZERS = _table(
    sgd=Known("SGD", {"momentum": DECAY, **_STEP}),
    nag=Known("NAG", {"momentum": DECAY, **_STEP}),
    adam=Known("Adam", _ADAM),
    adamax=Known("Adamax", _BETAS),
    nadam=Known("Nadam", {**_ADAM, "schedule_decay": NOT_NEGATIVE}),
    adagrad=Known("AdaGrad", {"eps": POSITIVE, **_STEP}),
    adadelta=Known("AdaDelta", {"rho": DECAY, "epsilon": POSITIVE, **_COMMON}),
    rmsprop=Known("RMSProp", {**_RMS, **_STEP}),
    ftrl=Known("Ftrl", {"lamda1": NOT_NEGATIVE, "beta": NOT_NEGATIVE, **_STEP}),
    ftml=Known("FTML", _ADAM),
    signum=Known("Signum", {"momentum": DECAY, "wd_lh": NOT_NEGATIVE, **_STEP}),
    lamb=Known("LAMB", {**_ADAM, "lower_bound": POSITIVE, "upper_bound": POSITIVE, "bias_correction": BOOLEAN}),
    lars=Known("LARS", {"momentum": DECAY, "eta": POSITIVE, "eps": NOT_NEGATIVE, **_STEP}),
)

_WARMUP = {
    "warmup_steps": COUNT,
    "warmup_begin_lr": NOT_NEGATIVE,
    "warmup_mode": Option("text", choices=("linear", "constant")),
}
_FACTOR = Option(low=0, high=1)
_UNTIL = Option("integer", low=1, required=True)
_STEPS = Option("integers", low=1, required=True)

#: Schedules of ``mxnet.lr_scheduler``; they start from the optimizer's learning rate and count steps.
SCHEDULES = _table(
    factor=Known("FactorScheduler", {"step": _UNTIL, "factor": _FACTOR, "stop_factor_lr": NOT_NEGATIVE, **_WARMUP}),
    multifactor=Known("MultiFactorScheduler", {"step": _STEPS, "factor": _FACTOR, **_WARMUP}),
    poly=Known("PolyScheduler", {"max_update": _UNTIL, "pwr": POSITIVE, "final_lr": NOT_NEGATIVE, **_WARMUP}),
    cosine=Known("CosineScheduler", {"max_update": _UNTIL, "final_lr": NOT_NEGATIVE, **_WARMUP}),
)

_RANDOM = Option("text", choices=("uniform", "gaussian"))
_FACTOR_TYPE = Option("text", choices=("avg", "in", "out"))

#: Initializers of ``mxnet.initializer``; ``default`` is Gluon's own.
INITIALIZERS = _table(
    default=Known("Uniform"),
    xavier=Known("Xavier", {"rnd_type": _RANDOM, "factor_type": _FACTOR_TYPE, "magnitude": POSITIVE}),
    msra_prelu=Known("MSRAPrelu", {"factor_type": _FACTOR_TYPE, "slope": NOT_NEGATIVE}),
    uniform=Known("Uniform", {"scale": POSITIVE}),
    normal=Known("Normal", {"sigma": POSITIVE}),
    orthogonal=Known("Orthogonal", {"scale": POSITIVE, "rand_type": Option("text", choices=("uniform", "normal"))}),
    zeros=Known("Zero"),
    ones=Known("One"),
    constant=Known("Constant", {"value": Option(required=True)}),
)

_WHICH = {"output": COUNT, "label": COUNT}
_OF = {"of": Option("text", choices=("scores", "probabilities", "log_probabilities")), **_WHICH}
_GUESS = {"threshold": ANY, "class": COUNT, **_WHICH}
_AVERAGED = {"average": Option("text", choices=("macro", "micro", "weighted")), **_GUESS}
_RANKING = {"class": COUNT, **_OF}
_COUNTS = {"tp": "max", "fp": "min", "fn": "min", "tn": "max"}

#: Metrics of ``mxspark.mx.loop``: exact over all rows, however they are divided. See docs/metrics.md.
METRICS = _table(
    accuracy=Known("accuracy", {"axis": AXIS, **_WHICH}, "max"),
    top_k_accuracy=Known("top_k_accuracy", {"k": Option("integer", low=1, required=True), **_WHICH}, "max"),
    binary_accuracy=Known("binary_accuracy", {"threshold": ANY, **_WHICH}, "max"),
    cross_entropy=Known("cross_entropy", _OF),
    perplexity=Known("cross_entropy", _OF),
    log_loss=Known("log_loss", _OF),
    mae=Known("mae", _WHICH),
    mse=Known("mse", _WHICH),
    rmse=Known("mse", _WHICH),
    r2=Known("r2", _WHICH, "max"),
    pearson=Known("pearson", _WHICH, "max"),
    f1=Known("f1", _AVERAGED, "max"),
    precision=Known("precision", _AVERAGED, "max"),
    recall=Known("recall", _AVERAGED, "max"),
    confusion=Known("confusion", _GUESS, parts=_COUNTS),
    auc=Known("auc", _RANKING, "max", needs_all=True),
    pr_auc=Known("pr_auc", _RANKING, "max", needs_all=True),
)

TABLES: Mapping[str, Mapping[str, Known]] = MappingProxyType(
    {"loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "initializer": INITIALIZERS, "metric": METRICS}
)

#: Names that look right and are not there on purpose, each with what to do instead.
_ELSEWHERE = {
    ("loss", "cosine_embedding"): "it takes three arrays; give a function of your own",
    ("loss", "triplet"): "it takes three arrays; give a function of your own",
    ("loss", "poisson_nll"): "MXNet's gives one value a batch, not one a row; give a function of your own",
    ("optimizer", "adamw"): "MXNet 1.9.1 has none for Gluon; use adam with wd, or lamb",
    ("optimizer", "dcasgd"): "it corrects stale gradients, and here there are none; use sgd",
    ("optimizer", "sgld"): "its random steps cannot be resumed exactly; use sgd",
    ("optimizer", "lbsgd"): "its state cannot be saved; use lars or lamb with a schedule's warmup_steps",
    ("metric", "roc_auc"): "use auc",
    ("metric", "average_precision"): "use pr_auc",
    ("metric", "confusion_matrix"): "use confusion, which counts tp, fp, fn and tn",
    ("metric", "loss"): "the loss is always reported; leave it out",
}

_NOT_AN_OPTION = {
    ("adadelta", "learning_rate"): "its step does not depend on one; leave it out",
    ("optimizer", "lr_scheduler"): "use training.schedule",
    ("optimizer", "rescale_grad"): "gradients are divided by the number of rows of the step; leave it out",
    ("optimizer", "lazy_update"): "it is for sparse gradients, and all are dense; leave it out",
    ("schedule", "base_lr"): "a schedule starts from the optimizer's learning_rate; leave it out",
    ("loss", "batch_axis"): "axis 0 is always the batch; leave it out",
}


def check(kind: str, name: str, options: Mapping[str, Any]) -> list[str]:
    """List what is wrong with a named component.

    Parameters
    ----------
    kind : str
        A key of `TABLES`: ``loss``, ``optimizer``, ``schedule``, ``initializer`` or ``metric``.
    name, options : str, mapping
        What the user gave.

    Returns
    -------
    list of str
        One line a problem, with the value seen and the remedy; empty if all is well.

    Examples
    --------
    >>> check("optimizer", "adan", {})
    ["optimizer 'adan' is not known: did you mean 'adam'?"]
    """
    table = TABLES[kind]
    if name not in table:
        return [_unknown_name(kind, name)]
    known = table[name].options
    problems = [_unknown_option(kind, name, key, known) for key in options if key not in known]
    for key, option in known.items():
        if key not in options:
            if option.required:
                problems.append(f"{kind} {name} needs the option {key!r}: {option.wanted}")
        elif not option.accepts(options[key]):
            problems.append(f"{kind} {name}: {key} is {options[key]!r} and must be {option.wanted}")
    return problems + _combinations(kind, name, options)


def _meant(word: str, known: Iterable[str]) -> Optional[str]:
    """Return which of `known` was probably meant; MXNet's own names of classes end in what they are."""
    without = re.sub("_?(loss|scheduler)$", "", word, flags=re.IGNORECASE)
    close = closest(without, known) or closest(word, known)
    return close[0] if close else None


def _unknown_name(kind: str, name: str) -> str:
    start = f"{kind} {name!r} is not known: "
    if (kind, name) in _ELSEWHERE:
        return start + _ELSEWHERE[kind, name]
    match = _meant(name, TABLES[kind])
    if match is not None:
        return start + f"did you mean {match!r}?"
    return start + f"use one of {', '.join(sorted(TABLES[kind]))}, or a function of your own"


def _unknown_option(kind: str, name: str, key: str, known: Mapping[str, Option]) -> str:
    start = f"{kind} {name} has no option {key!r}: "
    if (kind, key) in _NOT_AN_OPTION or (name, key) in _NOT_AN_OPTION:
        return start + (_NOT_AN_OPTION.get((kind, key)) or _NOT_AN_OPTION[name, key])
    match = _meant(key, known)
    if match is not None:
        return start + f"did you mean {match!r}?"
    return start + (f"it takes {', '.join(sorted(known))}" if known else "it takes none")


def _combinations(kind: str, name: str, options: Mapping[str, Any]) -> list[str]:
    """Options that are fine alone and not together."""
    warmup, until = options.get("warmup_steps", 0), options.get("max_update")
    if kind == "schedule" and isinstance(warmup, int) and isinstance(until, int) and warmup >= until:
        return [f"schedule {name}: warmup_steps is {warmup} and must be below max_update, which is {until}"]
    if kind == "optimizer" and "gamma2" in options and not options.get("centered"):
        return [f"optimizer {name}: gamma2 is only used with centered: true; add that or leave gamma2 out"]
    if kind == "metric" and len({"average", "class", "threshold"} & set(options)) > 1:
        return [f"metric {name}: average, class and threshold exclude each other; leave one, or make two metrics of it"]
    return []
