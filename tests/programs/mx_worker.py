"""A worker that uses MXNet's kvstore directly: pushes, pulls, checks the sums, and tries to have a command executed."""

from __future__ import annotations

import os
import sys
import time

from mxspark.protocol import commands, events
from mxspark.protocol.channel import Channel


class Marker:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.open, (self.path, os.O_CREAT | os.O_WRONLY)


def main() -> None:
    """Be a worker."""
    began = time.monotonic()
    channel = Channel.from_fd(int(os.environ["MXSPARK_CHANNEL"]))
    for name in ("sklearn", "pandas", "scipy", "onnx", "matplotlib", "graphviz"):
        sys.modules[name] = None  # type: ignore[assignment]
    import mxnet as mx

    channel.send(events.to_wire(events.Loaded(time.monotonic() - began)))
    order = commands.from_wire(channel.receive(120) or {})
    assert isinstance(order, commands.Train), order
    kv = mx.kv.create("dist_sync")
    channel.send(events.to_wire(events.Formed(kv.rank, time.monotonic() - began)))
    kv.init([0, 1, 2], [mx.nd.zeros((3, 4)), mx.nd.zeros((1500, 1000)), mx.nd.zeros((1,))])
    channel.send(events.to_wire(events.Started(0, 0, 1, {})))
    for step in range(1, 6):
        for key, shape in enumerate([(3, 4), (1500, 1000), (1,)]):
            kv.push(key, mx.nd.ones(shape) * (step * (kv.rank + 1)))
            out = mx.nd.zeros(shape)
            kv.pull(key, out)
            total = step * sum(range(1, kv.num_workers + 1))
            assert (out.asnumpy() == total).all(), (step, key, out.asnumpy().ravel()[:3], total)
    if kv.rank == 0:
        import pickle

        kv._send_command_to_servers(0, pickle.dumps(Marker(order.worker_spec["marker"]), 0).decode())
    channel.send(events.to_wire(events.Done(5, "same", {})))
    while (frame := channel.receive(120)) is not None and frame["do"] != "Finish":
        pass
    del kv
    sys.stdout.flush()
    os._exit(0)
