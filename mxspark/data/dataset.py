"""Spooled rows and the order in which they are walked."""

from __future__ import annotations

from dataclasses import dataclass

from mxspark.data.plan import Plan
from mxspark.data.spool import Spool


@dataclass(frozen=True)
class DataSet:
    """Spooled rows and the plan that walks them."""

    spool: Spool
    plan: Plan
