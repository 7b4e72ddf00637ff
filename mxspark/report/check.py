"""What ``mxspark check`` found, for people and for programs."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mxspark.check.findings import OK, PROBLEM, WARNING, Finding, exit_code

WIDTH = 120
_STATUS = len("warning")
_SUBJECT = len("memory of an executor")
_LOOKS = {OK: "[green]ok[/green]", WARNING: "[yellow]warning[/yellow]", PROBLEM: "[bold red]problem[/bold red]"}


def as_json(found: Sequence[Finding]) -> str:
    """Return one JSON object: ``exit_code``, and ``findings`` in the order they were made."""
    report = {"exit_code": exit_code(found), "findings": [asdict(finding) for finding in found]}
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def as_table(found: Sequence[Finding]) -> str:
    """Return a line a finding, what to do below what is wrong, and the sum of it."""
    return "".join(map(as_row, found)) + summed(found)


def as_row(finding: Finding) -> str:
    """Return a row of that table, which is as wide whatever the others are."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for width in (_STATUS, _SUBJECT, None):
        table.add_column(min_width=width, overflow="fold")
    words = escape(finding.seen) + (f"\n[bold]fix:[/bold] {escape(finding.fix)}" if finding.fix else "")
    table.add_row(_LOOKS[finding.status], escape(finding.subject), words)
    out = io.StringIO()
    Console(file=out, width=WIDTH, highlight=False, emoji=False).print(table)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def summed(found: Sequence[Finding]) -> str:
    """Return the last line of that table."""
    counts = {status: sum(finding.status == status for finding in found) for status in (PROBLEM, WARNING)}
    words = [f"{count} {status}{'s' * (count > 1)}" for status, count in counts.items() if count]
    return (", ".join(words) if words else "nothing keeps this job from running") + "\n"
