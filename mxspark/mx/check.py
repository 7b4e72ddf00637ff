"""A process like a worker's that only builds the network: what ``mxspark check`` learns of MXNet and of its size.

Reads a `BuildOrder` as JSON, and writes a `findings.Built` to the descriptor it is told.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict

from mxspark.check.findings import Built
from mxspark.job.spec import BuildOrder
from mxspark.mx.runtime.importing import import_mxnet
from mxspark.protocol import codec


def weigh(order: BuildOrder) -> Built:
    """Import MXNet and build the network of an order."""
    try:
        version = str(import_mxnet().__version__)
    except Exception:
        return Built(trouble=traceback.format_exc().strip())
    if order.training is None:
        return Built(version)
    from mxspark.mx.model import network
    from mxspark.mx.model.factors import factors
    from mxspark.mx.runtime import attribution

    try:
        built = network.prepare(order.training, order.inputs)
    except BaseException as error:
        said = attribution.raised(error, None)
        words = f"{said.type}: {said.message}" if said.type else said.message
        return Built(version, None, f"{words}\n{said.traceback}".strip(), said.who in ("training", "input"))
    return Built(version, values=built.size, graph=built.graph, factors=factors(built.parameters))


def main() -> None:
    """Do as told on standard input; the one argument is the descriptor for the answer."""
    answer = json.dumps(asdict(weigh(codec.decode(BuildOrder, json.load(sys.stdin)))))
    os.write(int(sys.argv[1]), answer.encode())
    sys.stdout.flush()
    os._exit(0)  # threads of the user's code do not keep it


if __name__ == "__main__":
    main()
