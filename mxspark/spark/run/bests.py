"""The best value of every metric over all epochs of a job, those of earlier runs too. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from mxspark.job.spec import BestBy
from mxspark.protocol.events import EpochEnd
from mxspark.result import summarise

#: Side (``training``, ``validation``) → name → best value.
Bests = dict[str, dict[str, float]]

_BESTS, _MEASURED = "bests", "measured"


def to_meta(bests: Bests, measured: Mapping[str, str]) -> dict[str, Any]:
    """Return what a checkpoint keeps of the best values, and of what they are values of (`options.measured`)."""
    return {_BESTS: bests, _MEASURED: dict(measured)}


def of_checkpoint(meta: Mapping[str, Any], measured: Optional[Mapping[str, str]] = None) -> Bests:
    """Return the best values that a checkpoint knows; where `measured` is given, of what is measured as it was then."""
    then = meta.get(_MEASURED, {})
    return {
        side: {
            name: value for name, value in values.items() if measured is None or measured.get(name) == then.get(name)
        }
        for side, values in meta.get(_BESTS, {}).items()
    }


def with_epochs(known: Bests, history: Sequence[EpochEnd], better: Mapping[str, str]) -> Bests:
    """Return the best of what is known and of more epochs; `better` says of each name which way that is."""
    bests = {side: dict(values) for side, values in known.items()}
    for side, summary in summarise(tuple(history), dict(better)).items():
        ours = bests.setdefault(side, {})
        for name, value in summary["best"].items():
            if value == value and (name not in ours or BestBy(name, side, better[name]).is_better(value, ours[name])):
                ours[name] = value
    return bests


def is_same(meta: Mapping[str, Any], best_by: BestBy, measured: Mapping[str, str]) -> bool:
    """Tell whether the best epoch of a checkpoint was found by what would find it now; else its value says nothing."""
    before = (meta.get("best_by", best_by.metric), meta.get("direction", best_by.direction))
    if before != (best_by.metric, best_by.direction):
        return False
    now = measured.get(best_by.metric)
    return bool(meta.get(_MEASURED, {}).get(best_by.metric, now) == now)


def sought_anew(meta: Mapping[str, Any], best_by: BestBy, measured: Mapping[str, str]) -> str:
    """Return what becomes of the best model of a checkpoint where another measure names the best; "" where none does.

    Two values of one name may be two quantities, of which neither is the better one.
    """
    best, name = meta.get("best") or {}, best_by.metric
    if best.get("value") is None or is_same(meta, best_by, measured):
        return ""
    before = (meta.get("best_by"), meta.get("direction", best_by.direction))
    why = f"{name} is measured otherwise than before"
    if before != (name, best_by.direction):
        why = f"{name} ({best_by.direction} is better) names the best epoch now, where {before[0]} ({before[1]}) did"
    return (
        f"training.best_by: {why}; the best epoch is sought anew from here on, and the first one replaces model-best, "
        f"which is of epoch {best['epoch']} ({before[0]} {best['value']:.4f}); stop and copy that folder to keep it"
    )
