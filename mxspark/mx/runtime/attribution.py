"""Who can mend an exception: the user's training code, the user's input, or we."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from mxspark.errors import ClusterError, InputError, MXSparkError, TrainingCodeError
from mxspark.errors.cause import shorten
from mxspark.protocol import events

_OURS = str(Path(__file__).resolve().parents[2]) + os.sep
# A report is one frame, of bounded size, and goes to a screen.
MESSAGE_LIMIT, TRACEBACK_LIMIT = 8_000, 32_000


class Blamed(Exception):
    """Carries an exception out of the code that is to blame; never reported itself."""

    def __init__(self, who: str, error: BaseException) -> None:
        super().__init__(who)
        self.who = who
        self.error = error


@contextmanager
def training_code() -> Iterator[None]:
    """Blame the user's code for anything raised inside, ``sys.exit`` and ``KeyboardInterrupt`` too."""
    try:
        yield
    except (Blamed, MXSparkError):
        raise
    except BaseException as error:
        raise Blamed("training", error) from error


def raised(error: BaseException, step: Optional[int]) -> events.Raised:
    """Return the event for an exception that ends the worker; an exception of MXNet itself is the network's."""
    who, cause = _who(error)
    return events.Raised(
        who=who,
        type=_name(type(cause)),
        message=shorten(_text(cause) or "no message", MESSAGE_LIMIT),
        traceback=shorten(_traceback(cause), TRACEBACK_LIMIT),
        step=step,
    )


def _text(error: BaseException) -> str:
    """Return an exception's own words; the user's `__str__` may itself raise."""
    try:
        return str(error)
    except Exception as second:
        return f"its __str__ raised {_name(type(second))}"


def _who(error: BaseException) -> tuple[str, BaseException]:
    if isinstance(error, Blamed):
        return error.who, error.error
    if isinstance(error, InputError):
        return "input", error
    if isinstance(error, TrainingCodeError):
        return error.kind, error
    if _name(type(error)) == "mxnet.base.MXNetError":
        return "training", error
    if isinstance(error, ClusterError):  # no commit in time, another worker is gone: it may go well the next time
        return "role", error
    return "internal", error


def _name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _traceback(error: BaseException) -> str:
    """Return the traceback without our own frames above the user's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    shown = trace if trace is not None else error.__traceback__
    try:
        return "".join(traceback.format_exception(type(error), error, shown))
    except Exception:
        return "".join(traceback.format_tb(shown))
