"""How much memory do the workers of a host need? The peak of the sum of their PSS, where a shared page counts once.

    python bench/host_memory.py [--workers 2] [--optimizer adam] [--against CHECKOUT] [--rounds 3]

A network of 24 million values (95 MB), 8 rows a step, no servers; another checkout of mxspark in turns with ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 600


def train(checkout: Path, workers: int, optimizer: str) -> None:
    """Train with the code of a checkout, and print the peak in bytes."""
    sys.path[:0] = [str(checkout / part) for part in ("", "tests", "tests/mx", "bench")]
    import exchange
    import loop
    from role_harness import make_spec, run_group

    from mxspark.job.spec import Component

    def network():
        from mxnet.gluon import nn

        net = nn.HybridSequential()
        net.add(*(nn.Dense(size, activation="relu") for size in (4096, 4096, 1024)), nn.Dense(10))
        return net

    with tempfile.TemporaryDirectory(prefix="mxspark-bench-") as folder:
        spec = make_spec(
            Path(folder),
            counts=[320],
            batch_size=8 * workers,
            arrays=loop.random_rows("large", 320),
            network=network,
            optimizer=Component(optimizer, {"learning_rate": 1e-4}),
            epochs=2,
        )
        memory = exchange.Memory()
        memory.start()
        outcome = run_group(spec, workers, hosts=1)
        print(json.dumps(memory.stop()), flush=True)
    assert outcome.returncodes == [0] * workers, outcome.logs


def measure(checkout: Path, workers: int, optimizer: str) -> int:
    """Return the peak of one run in bytes, in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--train", str(checkout)]
    options = ["--workers", str(workers), "--optimizer", optimizer]
    # Roles are started with `python -m`, which looks for modules in the working directory first.
    done = subprocess.run(
        [*command, *options], cwd=checkout, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S
    )
    return int(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(given.train, given.workers, given.optimizer)
        return
    checkouts = {"ours": ROOT, **({"other": given.against.resolve()} if given.against else {})}
    peaks: dict[str, list[int]] = {name: [] for name in checkouts}
    for _ in range(given.rounds):
        for name, checkout in checkouts.items():
            peaks[name].append(measure(checkout, given.workers, given.optimizer))
            print(f"{name:6s} {peaks[name][-1] / 2**20:,.0f} MiB", flush=True)
    found = {name: statistics.median(seen) for name, seen in peaks.items()}
    ratio = found["ours"] / found["other"] if given.against else None
    print(json.dumps({"question": "memory of the workers of a host", "bytes": found, "ratio": ratio}))


if __name__ == "__main__":
    main()
