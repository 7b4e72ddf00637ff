"""Who can mend an exception: the user's training code, the user's input, or we."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from mxspark.errors import ClusterError, InputError, MXSparkError, TrainingCodeError
from mxspark.errors.cause import shorten
from mxspark.mx.runtime import spark_session
from mxspark.protocol import events

_OURS = str(Path(__file__).resolve().parents[2]) + os.sep
_OF_MXNET = "mxnet.base.MXNetError"
_IN_SOURCE = re.compile(
    r"\[\d\d:\d\d:\d\d\] \S+:\d+: |\ATraceback \(most recent call last\):\n(?: .*\n)+\S*MXNetError: "
)
# What is a mistake of MXNet's own, and the way round it; by words of its message.
_KNOWN = {
    "Check failed: !is_view": "oneDNN in MXNet fails where it has to lay out anew what is part of another array, as in "
    "a BatchNorm directly behind F.concat: set cluster.environment: "
    '{MXNET_MKLDNN_ENABLED: "0"}, or put another layer between the two'
}
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
    """Return the event for an exception that ends the worker; an exception of MXNet itself is the network's.

    What we refuse of the user's has our words and no type, and no frames but those of code of the user's that raised.
    """
    who, cause = _who(error)
    if who == "training":
        cause = spark_session.refusal(cause) or cause
    is_refusal = isinstance(cause, MXSparkError) and who != "internal"
    return events.Raised(
        who=who,
        type="" if is_refusal else _name(type(cause)),
        message=shorten((in_short(cause) or "no message") + _lacking(cause, who), MESSAGE_LIMIT),
        traceback=shorten(_traceback(cause, who, is_refusal), TRACEBACK_LIMIT),
        step=step,
    )


def whole(error: BaseException) -> str:
    """Return the traceback of an exception with all frames, for the log."""
    cause = error.error if isinstance(error, Blamed) else error
    try:
        return "".join(traceback.format_exception(type(cause), cause, cause.__traceback__))
    except Exception:  # an exception of the user's may not let itself be written
        return "".join(traceback.format_tb(cause.__traceback__))


def in_short(error: BaseException) -> str:
    """Return an exception's own words, of MXNet's without where in its source they were said,
    and with what to do about a mistake of its own."""
    text = _text(error)
    if _name(type(error)) != _OF_MXNET:
        return text
    said = _IN_SOURCE.sub("", text)
    return "; ".join([said.rstrip(" :\n"), *(way for words, way in _KNOWN.items() if words in said)])


def _lacking(error: BaseException, who: str) -> str:
    """Return what to do about a package that the user's code imports and that is not there."""
    if who != "training" or not isinstance(error, ModuleNotFoundError):
        return ""
    return (
        f"; workers run in {sys.prefix}: install it there, or give submit.sh --requirements FILE; a module of your own "
        "goes with --py-files, or beside the job file"
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
    if _name(type(error)) == _OF_MXNET:
        return "training", error
    if isinstance(error, ClusterError):  # no commit in time, another worker is gone: it may go well the next time
        return "role", error
    return "internal", error


def _name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _traceback(error: BaseException, who: str, is_refusal: bool) -> str:
    """Return the traceback of an exception as its reader can use it: of the user's code their own frames alone."""
    if who == "internal":
        return whole(error)
    of = error.__cause__ if is_refusal else error
    if of is None:
        return ""
    try:
        told = _theirs(traceback.TracebackException(type(of), of, of.__traceback__))
        return "" if told is None else "".join(told.format())
    except Exception:
        return "".join(traceback.format_list(_frames_of_theirs(traceback.extract_tb(of.__traceback__))))


def _theirs(told: Optional[traceback.TracebackException]) -> Optional[traceback.TracebackException]:
    """Return a traceback with the user's frames alone, None where it has none."""
    if told is None:
        return None
    told.__cause__, told.__context__ = _theirs(told.__cause__), _theirs(told.__context__)
    told.stack = traceback.StackSummary.from_list(_frames_of_theirs(told.stack))
    return told if told.stack else None


def _frames_of_theirs(frames: Iterable[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    files = [getattr(sys.modules.get(name), "__file__", None) for name in ("mxnet", "pyspark")]
    others = (_OURS, "<frozen ", *(str(Path(file).parent) + os.sep for file in files if file))
    return [frame for frame in frames if not frame.filename.startswith(others)]
