"""The user's data and code, checked on the driver before anything is submitted."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Optional

from pyspark import RDD
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from mxspark.config.job_config import JobConfig
from mxspark.data import columns
from mxspark.data.spool import ColumnSpec, SpoolReady
from mxspark.errors import ClusterError, ConfigError, DataError, InputError
from mxspark.job import metric
from mxspark.job.spec import Component, Function
from mxspark.spark.session import modules
from mxspark.spark.session.session import check_names
from mxspark.spark.spool import stage
from mxspark.topology import identity


def read(spark: SparkSession, job: JobConfig, path: Optional[str], key: str) -> DataFrame:
    """Return the DataFrame of ``data.path`` or ``data.validation.path``."""
    if path is None:
        raise ConfigError(f"{key}: is missing; name what Spark shall read, or give train() a DataFrame or an RDD")
    check_names(spark, {key: path})
    try:
        return spark.read.format(job.data.format).options(**job.data.options).load(path)
    except AnalysisException as error:
        said = str(error).strip().splitlines()[0]
        raise DataError(
            f"{key}={path!r} cannot be read as {job.data.format!r}: {said}; check the path, a relative one resolves on "
            f"fs.defaultFS, or on the working directory in local mode"
        ) from error


def check(job: JobConfig, data: Any, validation: Any) -> None:
    """Check types of the data, its columns and the dotted paths of the configuration, all problems at once.

    Raises
    ------
    ConfigError
        Naming every problem.
    """
    problems = []
    for name, rows in (("data", data), ("validation data", validation)):
        if rows is None:
            continue
        if not isinstance(rows, (DataFrame, RDD)):
            raise InputError(f"{name} is a {type(rows).__name__}; give a DataFrame, an RDD, or data.path")
        # an RDD has no schema; what is declared is checked all the same
        fields = stage.fields(rows) if isinstance(rows, DataFrame) else None
        features, labels = job.spooled()
        found = columns.check((*features, *labels), fields)
        problems += [f"{name}: {line}" for line in found]
    training = job.training
    problems += _unimportable("training.network", training.network)
    for key, component in (
        ("loss", training.loss),
        ("optimizer", training.optimizer),
        ("schedule", training.schedule),
        ("initializer", training.initializer),
        # to look for a module of MXNet's would import MXNet; its classes are known
        *(("metrics", one) for one in training.metrics if metric.of_mxnet(one) is None),
    ):
        if isinstance(component, Component) and component.function is not None:
            problems += _unimportable(f"training.{key}", component.function)
    problems += _without_rows(job, validation)
    if problems:
        raise ConfigError.from_problems("the job", problems)


def _without_rows(job: JobConfig, validation: Any) -> list[str]:
    """Return which metrics need validation rows of a job that has none."""
    if validation is not None or job.data.validation.fraction:
        return []
    return [
        f"training.metrics: {name} is worked out from all validation rows at once, and there are none; set "
        "data.validation, or leave it out"
        for name, one in zip(metric.reported_names(job.training.metrics), job.training.metrics)
        if metric.needs_all(one)
    ]


def check_one_host(spools: Sequence[SpoolReady]) -> None:
    """Prove that every spool lies on this machine.

    Raises
    ------
    ClusterError
        If one does not, with the reason.
    """
    here = identity.host_identity()
    other = next((spool for spool in spools if spool.host != here), None)
    if other is not None:
        raise ClusterError(
            f"partition {other.partition} was spooled where the driver cannot reach it: "
            f"{identity.explain_difference(here, other.host)}. Jobs over several hosts are not supported yet: start "
            "Spark with --master local[N], or with all executors on the driver's host and as its user"
        )


def check_same_shapes(columns: Iterable[Sequence[ColumnSpec]], validation: Sequence[SpoolReady]) -> None:
    """Prove that the validation rows have the shapes of the training rows.

    Raises
    ------
    DataError
        Naming the first column where they differ.
    """
    for spec in (spec for specs in columns for spec in specs):
        other = stage.settle([replace(spec, shape=None)], validation)[0]
        if other.shape != spec.shape:
            raise DataError(
                f"column {spec.name}: rows have shape {spec.shape} in the training data and {other.shape} in the "
                "validation data; make them agree"
            )


def _unimportable(key: str, function: Function) -> list[str]:
    """Return why a dotted path cannot be right, without running the module: it may import MXNet."""
    if function.path is None:
        return []
    module, _, attribute = function.path.partition(":")
    try:
        spec = modules.find(module)
    except Exception as error:  # a parent package is the user's code and may raise anything
        return [f"{key}: importing the package of {function.path!r} raised {type(error).__name__}: {error}"]
    if spec is None:
        return [f"{key}: {modules.missing(module)}"]
    name = attribute.split(".")[0]
    if not spec.origin or not spec.origin.endswith(".py"):
        return []
    try:
        with open(spec.origin, encoding="utf-8") as file:
            tree = ast.parse(file.read(), spec.origin)
    except SyntaxError as error:
        return [f"{key}: {error.filename}, line {error.lineno}: {error.msg}"]
    known = _top_names(tree)
    if known is None or name in known:
        return []
    return [f"{key}: module {module!r} has no {name!r}; it defines {', '.join(sorted(known)) or 'nothing'}"]


def _top_names(tree: ast.Module) -> Optional[set[str]]:
    """Return the names a module defines at its top level, None where that cannot be read off."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
            if any(alias.name == "*" for alias in node.names):
                return None
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            return None
    return found
