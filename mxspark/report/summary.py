"""The short table a run ends with."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from mxspark.result import Result


def print_summary(result: Result, console: Console) -> None:
    """Print what was reached and where it lies."""
    console.print(f"[bold]{result.status}[/bold]: {result.message}", highlight=False, soft_wrap=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows(result):
        table.add_row(name, value)
    console.print(table, highlight=False)


def rows(result: Result) -> list[tuple[str, str]]:
    """Return the table's lines; facts that do not exist have none."""
    lines = [("run", result.run_id), ("epochs", f"{result.epochs}  ({result.steps} steps)")]
    for side in ("training", "validation"):
        for name, value in result.metrics.get(side, {}).get("last", {}).items():
            best = result.metrics[side]["best"][name]
            lines.append((f"{side} {name}", f"{value:.4f}  (best {best:.4f})"))
    if result.rows_per_s:
        lines.append(("rows/s", f"{result.rows_per_s:,.0f}"))
    if result.seconds:
        lines.append(("seconds", "  ".join(f"{phase} {taken:.1f}" for phase, taken in result.seconds.items())))
    places = {
        "model": result.model.path if result.model else None,
        "best model": result.best_model.path if result.best_model else None,
        "checkpoint": result.checkpoint,
        "events": result.events,
    }
    lines.extend((name, place) for name, place in places.items() if place)
    return lines
