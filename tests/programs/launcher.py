"""Start ``mxspark`` as a scheduler's runner does, and wait: killed with SIGKILL it leaves a driver behind."""

from __future__ import annotations

import subprocess
import sys

if __name__ == "__main__":
    sys.exit(subprocess.call([sys.executable, "-m", "mxspark", *sys.argv[2:]]))
