"""The loops a worker can run: one row says all of a loop, whose code itself is in `mx.loop`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Callable

from mxspark.job.spec import TrainingSpec

GLUON = "gluon"


@dataclass(frozen=True)
class LoopKind:
    """A kind of loop.

    Attributes
    ----------
    entry : str
        ``module:function`` that makes one in a worker, a `mx.loop.trainable.Loop`.
    fixed : callable
        From what is trained to the labels that must stay the same between the runs of a job; options may change.
    """

    entry: str
    fixed: Callable[[TrainingSpec], dict[str, str]]


def _of_gluon(training: TrainingSpec) -> dict[str, str]:
    return {
        "network": training.network.label,
        "loss": training.loss.name,
        "optimizer": training.optimizer.name,
    }


LOOPS: Mapping[str, LoopKind] = MappingProxyType({GLUON: LoopKind("mxspark.mx.loop.gluon:make", _of_gluon)})


def identity(training: TrainingSpec) -> dict[str, str]:
    """Return what fixes a job beside its data: the name of its loop, and what that says."""
    return {"loop": training.loop, **LOOPS[training.loop].fixed(training)}
