"""Entry of a link. Standard input is the socket to the agent that owns it; its end means: end everything."""

from __future__ import annotations

import logging
import os
import resource
import sys

from mxspark.link.node import Node
from mxspark.system.loop import Loop

STDIN = 0


def main() -> int:
    """Be a link."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump of this memory would be a file with the key in it
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # what is carried needs six each
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s link %(levelname)s %(message)s")
    loop = Loop()
    Node(loop, STDIN)
    loop.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
