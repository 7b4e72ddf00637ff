"""The short table a run ends with."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from mxspark.result import Result, rows


def print_summary(result: Result, console: Console) -> None:
    """Print what was reached and where it lies; one line each, however long, so that paths can be copied."""

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, emoji=False)

    line(f"[bold]{result.status}[/bold]: {escape(result.message)}")
    facts = rows(result)
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        line(f"[dim]{name:{width}}[/dim]  {escape(value)}")
