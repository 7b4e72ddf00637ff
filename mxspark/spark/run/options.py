"""What a job says of its training beside what is fixed, by key: told where it changes from one run to the next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from mxspark.config import modules
from mxspark.config.job_config import JobConfig
from mxspark.job import code, fixed, metric
from mxspark.job.spec import Component, TrainingSpec


def of(job: JobConfig) -> dict[str, Any]:
    """Return every component of a job and every option of it, with digests of the code that dotted paths lead to.

    The variables of the workers are among them: any function of the user's may read one.
    """
    training = job.training.spec()
    return {**fixed.options(training), **fixed.environment(job.cluster.environment), **dict(_code(training))}


def measured(job: JobConfig, options: Mapping[str, Any]) -> dict[str, str]:
    """Return for each reported value what tells it from another of its name: how it is made, which way is better.

    Parameters
    ----------
    options : mapping
        Of the job, as :func:`of` returns them.
    """
    training = job.training
    keys = {metric.LOSS: "training.loss"}
    keys.update((name, f"training.metrics.{place}") for name, place in metric.place_of_values(training.metrics).items())
    better = training.better()
    return {name: _digest_of([better.get(name), *_below(key, options)]) for name, key in keys.items()}


def _below(key: str, options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what options say of a component, whatever its place in a list."""
    given = {name: value for name, value in options.items() if name == key or name.startswith((f"{key}.", f"{key},"))}
    return sorted((name[len(key) :], value) for name, value in given.items())


def _digest_of(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def _code(training: TrainingSpec) -> Iterator[tuple[str, str]]:
    """Yield digests of the modules of each function that is given by its path, but of the network: that has a graph."""
    given = [(f"training.{key}", getattr(training, key)) for key in ("loss", "optimizer", "schedule", "initializer")]
    given += [(f"training.metrics.{place}", one) for place, one in enumerate(training.metrics)]
    for key, component in given:
        # to look for a module of MXNet's would import MXNet
        if isinstance(component, Component) and component.function and metric.of_mxnet(component) is None:
            module = (component.function.path or "").partition(":")[0]
            if module:
                for name, digest in _digests(module).items():
                    yield f"{key}, the code of {name}", digest


def _digests(module: str) -> dict[str, str]:
    try:
        return code.digests(module, modules.find(module))
    except Exception:  # a package of the user's runs, and may raise anything; what is wrong with it is told elsewhere
        return {module: ""}
