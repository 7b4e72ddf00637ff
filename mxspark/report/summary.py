"""The short table a run ends with."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from mxspark.result import Result


def print_summary(result: Result, console: Console) -> None:
    """Print what was reached and where it lies; one line each, however long, so that paths can be copied."""

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, emoji=False)

    line(f"[bold]{result.status}[/bold]: {escape(result.message)}")
    facts = rows(result)
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        line(f"[dim]{name:{width}}[/dim]  {escape(value)}")


def rows(result: Result) -> list[tuple[str, str]]:
    """Return the table's lines; facts that do not exist have none."""
    # a run that ended before it owned the job dir has left nothing that could be found by its id
    lines = [("run", result.run_id)] if result.events else []
    if result.epochs or result.steps:
        lines.append(("epochs", f"{result.epochs}  ({result.steps} steps)"))
    for side in ("training", "validation"):
        for name, value in result.metrics.get(side, {}).get("last", {}).items():
            best = result.metrics[side]["best"].get(name)  # nobody knows which value of a function is better
            beside = "" if best is None else f"  (best of this run {best:.4f})"
            lines.append((f"{side} {name}", f"{value:.4f}{beside}"))
    if result.rows_per_s:
        lines.append(("rows/s", f"{result.rows_per_s:,.0f}"))
    if result.seconds:
        lines.append(("seconds", "  ".join(f"{phase} {taken:.1f}" for phase, taken in result.seconds.items())))
    for attempt in result.attempts:
        after = "" if attempt.lost_s is None else f"; {attempt.lost_s:.1f} s lost"
        what = attempt.cause.describe().splitlines()[0]
        lines.append((f"attempt {attempt.number}", f"failed at step {attempt.reached}: {what}{after}"))
    lines.extend(("warning", text) for text in result.warnings)
    if result.remedy:
        lines.append(("next", result.remedy))
    places = {
        "model": result.model.path if result.model else None,
        "best model": result.best_model.path if result.best_model else None,
        "checkpoint": result.checkpoint,
        "events": result.events,
    }
    lines.extend((name, place) for name, place in places.items() if place)
    return lines
