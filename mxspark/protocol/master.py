"""What Spark takes for a master: one that is none is told in words, before a JVM refuses it with a stack."""

from __future__ import annotations

import re
from typing import Optional

from mxspark.errors.spelling import closest

KNOWN = "local[N], local[*], local-cluster[HOSTS,CORES,MiB], yarn, spark://HOST:PORT, k8s://https://HOST:PORT"
# as Spark's SparkMasterRegex has them; mesos until 3.5
_MASTER = re.compile(
    r"local|local\[([1-9]\d*|\*)(\s*,\s*\d+)?\]|local-cluster\[\s*\d+\s*,\s*\d+\s*,\s*\d+\s*\]|yarn"
    r"|(spark|k8s|mesos)://.+"
)
_EXAMPLES = {
    "local": "local[4]",
    "local-cluster": "local-cluster[2,1,1024]",
    "yarn": "yarn",
    "spark": "spark://HOST:7077",
    "k8s": "k8s://https://HOST:6443",
}


def problem(master: Optional[str]) -> Optional[str]:
    """Return what is wrong with a master, and what was probably meant; None if Spark takes it.

    >>> problem("local[2]"), problem(None)
    (None, None)
    >>> problem("locl[2]")[:62]
    "the master is 'locl[2]', which Spark does not know; did you me"
    """
    if master is None or _MASTER.fullmatch(master):
        return None
    meant = _meant(master)
    advice = f"; did you mean {meant}?" if meant else ";"
    return f"the master is {master!r}, which Spark does not know{advice} known are {KNOWN}"


def _meant(master: str) -> Optional[str]:
    """Return the master that was probably meant: with what is behind its name, where Spark takes that."""
    name = re.match(r"k8s|[A-Za-z-]*", master)
    assert name is not None
    close = closest(name.group(), _EXAMPLES) or closest(name.group().partition("-")[0], _EXAMPLES)
    if not close:
        return None
    rest = master[name.end() :]
    if not rest:
        return _EXAMPLES[close[0]]
    inner = ",".join(re.findall(r"\d+|\*", rest))
    tries = (f"{close[0]}{rest}", f"{close[0]}[{inner}]", _EXAMPLES[close[0]])
    return next(one for one in tries if _MASTER.fullmatch(one))
