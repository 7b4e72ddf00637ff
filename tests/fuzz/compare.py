"""Whether a job came to what it must: the numbers of the reference, or a refusal by name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fuzz.cases import Case
from mxspark.errors import Diverged, InputError, MXSparkError

# Float32 sums in another order: the distance is measured against how far the training has moved.
RELATIVE = 2e-4
METRIC = 2e-4
FRACTION = "data.validation.fraction"


@dataclass(frozen=True)
class Outcome:
    """What a job came to: an error, or parameters and epochs as `reference.Trained` has them."""

    error: Any = None
    parameters: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)


def check(case: Case, outcome: Outcome) -> None:
    """Fail unless the outcome is what it must be."""
    if case.flaw is not None:
        refused(outcome.error, case)
        return
    from fuzz import reference  # MXNet is imported here, once it is there the product's way

    if reference.has_no_rows(case):
        refused(outcome.error, replace(case, flaw="no rows on one side", names=(FRACTION,)))
        return
    expected = reference.train(case)
    if not expected.is_finite:
        assert isinstance(outcome.error, Diverged), f"no finite numbers, and the job came to {outcome.error!r}"
        return
    assert outcome.error is None, f"a job that must train was refused: {outcome.error}"
    same(outcome, expected)


def refused(error: Any, case: Case) -> None:
    """Fail unless a job with a flaw was refused with the name of what is wrong."""
    assert error is not None, f"{case.flaw} was not refused"
    assert isinstance(error, InputError) and error.exit_code == 2, f"no refusal: {type(error).__name__}: {error}"
    # few rows may have none on one side, which is found before what only a worker knows
    names = (*case.names, FRACTION) if _has_no_rows(case) else case.names
    assert any(_is_named(name, str(error)) for name in names), f"none of {names} is named: {error}"


def _is_named(name: str, text: str) -> bool:
    """Tell whether a name stands in a text by itself: a column is called y, and so ends many a word."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _has_no_rows(case: Case) -> bool:
    """Tell whether one side has no row; of a job whose settings make no plan that is another flaw."""
    if not case.job["data"]["validation"].get("fraction"):
        return False
    from fuzz import reference

    try:
        return reference.has_no_rows(case)
    except (ArithmeticError, MXSparkError, TypeError, ValueError):
        return False


def same(outcome: Outcome, expected: Any) -> None:
    """Fail unless parameters, rows and metrics are those of the reference."""
    assert set(outcome.parameters) == set(expected.parameters)
    moved, off, size = 0.0, 0.0, 0.0
    for name, wanted in expected.parameters.items():
        found = outcome.parameters[name].reshape(wanted.shape).astype(np.float64)
        off += float(np.square(found - wanted).sum())
        moved += float(np.square(wanted.astype(np.float64) - expected.initial[name]).sum())
        size += float(np.square(wanted.astype(np.float64)).sum())
    assert math.sqrt(off) <= RELATIVE * math.sqrt(moved) + 1e-6 * math.sqrt(size), (
        f"parameters are off by {math.sqrt(off):.3g} after moving by {math.sqrt(moved):.3g}"
    )
    assert len(outcome.epochs) == len(expected.epochs)
    for epoch, (found, wanted) in enumerate(zip(outcome.epochs, expected.epochs)):
        assert found["rows"] == wanted["rows"], f"rows of epoch {epoch}"
        for side in ("training", "validation"):
            assert set(found[side]) == set(wanted[side]), f"metrics of epoch {epoch}, {side}"
            for name, value in wanted[side].items():
                assert math.isclose(found[side][name], value, rel_tol=METRIC, abs_tol=1e-5), (
                    f"{side} {name} of epoch {epoch} is {found[side][name]}, and not {value}"
                )


def refusal(error: BaseException) -> Outcome:
    """Return the outcome of a job that raised; what is no error of mxspark's is a crash, and passes on."""
    if isinstance(error, MXSparkError):
        return Outcome(error)
    raise error
