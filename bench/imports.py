"""What do the imports of our processes cost, in seconds of processor time: worker (MXNet and its loop) and agent?

    python bench/imports.py [--rounds 7] [--against CHECKOUT]

Processor time, as it is the same however busy the machine is; medians of fresh processes, those of another checkout of
mxspark in turns with ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "import sys; sys.path.insert(0, sys.argv[1])\nimport time; begun = time.process_time()\n"
END = "\nprint(time.process_time() - begun, flush=True)\nimport os; os._exit(0)"
MXNET = "from mxspark.mx.runtime.importing import import_mxnet; import_mxnet()"
PROCESSES = {
    "mxnet": (["-I"], f"import numpy; begun = time.process_time()\n{MXNET}"),
    "worker": (["-I"], f"{MXNET}; import mxspark.mx.loop.gluon"),
    "agent of a slot": (["-I", "-S"], "import mxspark.agent.__main__, mxspark.agent.slot"),
    "agent of the driver": (["-I", "-S"], "import mxspark.agent.__main__, mxspark.agent.coordinator"),
}


def seconds(name: str, checkout: Path) -> float:
    """Return the processor time one fresh process takes for its imports."""
    flags, code = PROCESSES[name]
    command = [sys.executable, *flags, "-c", BEGIN + code + END, str(checkout)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--against", type=Path)
    given = options.parse_args()
    checkouts = {"ours": ROOT, **({"other": given.against.resolve()} if given.against else {})}
    found: dict[str, dict[str, float]] = {}
    for name in PROCESSES:
        taken: dict[str, list[float]] = {checkout: [] for checkout in checkouts}
        for _ in range(given.rounds + 1):  # the first one writes bytecode
            for checkout, path in checkouts.items():
                taken[checkout].append(seconds(name, path))
        found[name] = {checkout: statistics.median(each[1:]) for checkout, each in taken.items()}
        print(f"{name:20s}", "  ".join(f"{checkout} {value:.3f} s" for checkout, value in found[name].items()))
    print(json.dumps({"question": "imports", "cpu_s": found}))


if __name__ == "__main__":
    main()
