"""Where does a step go, and are workers or threads the better use of two cores? Draws ``docs/step.svg``.

    python bench/step.py [--svg FILE]

Two workers of one thread and 64 rows with the hierarchical exchange, timed inside each step; then one worker of two
threads and 128 rows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "mx"), str(ROOT / "bench")]

import exchange  # noqa: E402

PHASES = ("gradients", "meeting", "adding", "updating", "second meeting", "Python")
COLOURS = ("#4878a8", "#e0a030", "#50a060", "#8060a0", "#e0c070", "#a0a0a0")


def worker():
    """Train, with a clock at every border inside a step of the exchange."""
    name, workers, rows = os.environ["STEP"].split()
    exchange.ROWS[name] = int(rows)
    from mxspark.mx.runtime.importing import import_mxnet

    import_mxnet()
    from mxspark.mx.exchange import hierarchical, peers, shared_memory

    marks = []
    clock = time.perf_counter
    meet, add, step = peers.Peers.meet, shared_memory.Sum.__call__, hierarchical.HierarchicalExchange.step

    def marked(call, before, after):
        def run(self, *arguments):
            marks.append((before, clock()))
            result = call(self, *arguments)
            marks.append((after, clock()))
            return result

        return run

    peers.Peers.meet = marked(meet, "meet", "met")
    shared_memory.Sum.__call__ = marked(add, "add", "added")
    hierarchical.HierarchicalExchange.step = marked(step, "begin", "end")
    print("rate", flush=True)
    exchange.ours(name, int(workers), True)
    print(json.dumps(phases(marks)), flush=True)
    os._exit(0)


def phases(marks):
    """Return milliseconds a step by phase, from the steps in the middle."""
    begins = [place for place, (what, _) in enumerate(marks) if what == "begin"]
    middle = begins[len(begins) // 4 : -len(begins) // 4]
    totals = dict.fromkeys(PHASES, 0.0)
    for begin, after in zip(middle, middle[1:]):
        names = [what for what, _ in marks[begin:after]]
        if names != ["begin", "meet", "met", "add", "added", "meet", "met", "end"]:
            continue
        times = [moment for _, moment in marks[begin : after + 1]]
        spent = (
            times[1] - times[0],
            times[2] - times[1],
            times[4] - times[3],
            times[5] - times[4],
            times[6] - times[5],
            times[8] - times[7],
        )
        for phase, seconds in zip(PHASES, spent):
            totals[phase] += 1000 * seconds / (len(middle) - 1)
    return totals


def measure(name, workers, threads, rows, folder):
    """Return rows per second of the job, and milliseconds by phase of its first worker."""
    from role_harness import Group

    logs = folder / f"{name}-{workers}"
    with Group(workers, logs, 1, threads, "step:worker", {"STEP": f"{name} {workers} {rows}"}, hosts=1) as group:
        for process in group.workers:
            process.wait(300)
        said = [log.read_text().split("rate\n")[-1].splitlines() for log in group.logs]
    return sum(float(lines[0]) for lines in said), json.loads(said[0][-1])


def draw(steps):
    """Return an SVG: a bar a network, its phases in their order, in milliseconds."""
    scale = 640 / max(sum(spent.values()) for spent in steps.values())
    rows = []
    for number, (name, spent) in enumerate(steps.items()):
        x, y = 90.0, 20 + 60 * number
        rows.append(f'<text x="80" y="{y + 20}" text-anchor="end">{name}</text>')
        for phase, colour in zip(PHASES, COLOURS):
            width = spent[phase] * scale
            title = f"<title>{phase}: {spent[phase]:.2f} ms</title>"
            rows.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="30" fill="{colour}">{title}</rect>')
            x += width
        rows.append(f'<text x="{x + 6:.1f}" y="{y + 20}">{sum(spent.values()):.1f} ms</text>')
    bottom = 20 + 60 * len(steps)
    for number, (phase, colour) in enumerate(zip(PHASES, COLOURS)):
        x = 90 + 120 * number
        words = "  ".join(f"{spent[phase]:.2f}" for spent in steps.values())
        rows.append(f'<rect x="{x}" y="{bottom}" width="12" height="12" fill="{colour}"/>')
        rows.append(f'<text x="{x + 18}" y="{bottom + 11}">{phase}</text>')
        rows.append(f'<text x="{x + 18}" y="{bottom + 29}">{words} ms</text>')
    box = f'viewBox="0 0 820 {bottom + 40}" font-family="sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    return "\n".join([head, *rows, "</svg>", ""])


def main():
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=Path, default=ROOT / "docs/step.svg")
    arguments = parser.parse_args()
    steps = {}
    with tempfile.TemporaryDirectory(prefix="mxspark-bench-") as scratch:
        for name in ("mlp", "lenet"):
            two, steps[name] = measure(name, 2, 1, 64, Path(scratch))
            one, _ = measure(name, 1, 2, 128, Path(scratch))
            words = "  ".join(f"{phase} {spent:.2f}" for phase, spent in steps[name].items())
            print(f"{name:6} {words} ms; two workers {two:,.0f} rows/s, one of two threads {one:,.0f}: {two / one:.2f}")
    arguments.svg.write_text(draw(steps))


if __name__ == "__main__":
    main()
