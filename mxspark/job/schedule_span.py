"""Whether a learning-rate schedule goes with the steps there are: it counts updates, and many take them for epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

#: What a schedule may come to its end before, as a part of all steps: it was meant for others.
_SOON = 0.1
#: What is taken for all: the last batch of an epoch may be counted or not.
_NEARLY_ALL = 0.9
#: What part of the learning rate is none to speak of.
_LITTLE = 1e-3


def remark(name: str, options: Mapping[str, Any], steps: int, epochs: int) -> Optional[str]:
    """Return what a schedule does that is not meant, as a sentence; None where nothing can be said.

    Parameters
    ----------
    name, options : str, mapping
        A name of `catalog.SCHEDULES`, and its options as MXNet's object has them.
    steps, epochs : int
        The steps of an epoch; the number of epochs.

    Examples
    --------
    >>> remark("cosine", {"max_update": 10}, steps=50, epochs=10)[:71]
    'training.schedule cosine leaves a learning rate of 0 from step 10 of 50'
    """
    total = steps * epochs
    found = _warmup(options, total) or _SPANS[name](options, total)
    if found is None:
        return None
    return (
        f"training.schedule {name} {found}; a schedule counts steps, of which an epoch has {steps:,}, and all "
        f"{epochs:,} have {total:,}"
    )


def _warmup(options: Mapping[str, Any], total: int) -> Optional[str]:
    warmup = options.get("warmup_steps", 0)
    return f"warms up for {warmup:,} steps of {total:,}" if warmup >= total > 1 else None


def _factor(options: Mapping[str, Any], total: int) -> Optional[str]:
    step, factor = options["step"], options.get("factor", 1)
    if factor == 1:
        return _constant(options)
    if step >= total:
        return f"first changes the learning rate at step {step:,} of {total:,}, which is never"
    left = factor ** (int(_SOON * total) // step)
    return f"leaves {left:.1g} of the learning rate after a tenth of {total:,} steps" if left < _LITTLE else None


def _multifactor(options: Mapping[str, Any], total: int) -> Optional[str]:
    first, last = options["step"][0], options["step"][-1]
    if options.get("factor", 1) == 1:
        return _constant(options)
    if first >= total:
        return f"first changes the learning rate at step {first:,} of {total:,}, which is never"
    is_soon = last < _SOON * total
    return f"changes the learning rate for the last time at step {last:,} of {total:,}" if is_soon else None


def _until(options: Mapping[str, Any], total: int) -> Optional[str]:
    until, final = options["max_update"], options.get("final_lr", 0)
    if until < (_SOON if final else _NEARLY_ALL) * total:
        return f"leaves a learning rate of {final:g} from step {until:,} of {total:,} on"
    return f"goes down over {until:,} steps, and ends at {total:,}" if _SOON * until > total else None


def _constant(options: Mapping[str, Any]) -> Optional[str]:
    return None if options.get("warmup_steps") else "never changes the learning rate, as its factor is 1 unless set"


_SPANS = {"factor": _factor, "multifactor": _multifactor, "poly": _until, "cosine": _until}
