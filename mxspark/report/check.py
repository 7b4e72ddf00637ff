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
_LOOKS = {OK: "[green]ok[/green]", WARNING: "[yellow]warning[/yellow]", PROBLEM: "[bold red]problem[/bold red]"}


def as_json(found: Sequence[Finding]) -> str:
    """Return one JSON object: ``exit_code``, and ``findings`` in the order they were made."""
    report = {"exit_code": exit_code(found), "findings": [asdict(finding) for finding in found]}
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def as_table(found: Sequence[Finding]) -> str:
    """Return a line a finding, what to do below what is wrong, and the sum of it."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for finding in found:
        words = escape(finding.seen) + (f"\n[bold]fix:[/bold] {escape(finding.fix)}" if finding.fix else "")
        table.add_row(_LOOKS[finding.status], escape(finding.subject), words)
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, highlight=False, emoji=False)
    console.print(table)
    console.print(_sum(found))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _sum(found: Sequence[Finding]) -> str:
    counts = {status: sum(finding.status == status for finding in found) for status in (PROBLEM, WARNING)}
    words = [f"{count} {status}{'s' * (count > 1)}" for status, count in counts.items() if count]
    return ", ".join(words) if words else "nothing keeps this job from running"
