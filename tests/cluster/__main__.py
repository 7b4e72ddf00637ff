"""A Hadoop cluster on this machine to try things on: ``python -m tests.cluster up``.

Starts a NameNode, a DataNode, a ResourceManager and two NodeManagers from jars of Maven Central, says how to use them,
and ends them at Ctrl-C.
"""

from __future__ import annotations

import argparse
import getpass
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hdfs import Hdfs, Missing
from yarn import Yarn, folder_of, make_users


def main() -> int:
    """Run the cluster until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["up"], help="start the cluster and keep it until Ctrl-C")
    parser.add_argument("--folder", help="new folder for its files (default: a temporary one); removed at the end")
    parser.add_argument("--memory-mb", type=int, default=6144, help="memory of each of the two nodes")
    given = parser.parse_args()
    folder = folder_of(given.folder) if given.folder else Path(tempfile.mkdtemp(prefix="mxspark-cluster-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        hdfs = Hdfs(folder)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    yarn = Yarn(hdfs, (given.memory_mb, given.memory_mb))
    try:
        hdfs.start()
        yarn.start()
        make_users(hdfs, getpass.getuser(), "ann")
        print(
            f"up after {hdfs.seconds + yarn.seconds:.0f} s: {hdfs.uri}, two NodeManagers\n"
            "in another terminal:\n"
            f"  export HADOOP_CONF_DIR={yarn.conf} SPARK_LOCAL_IP=127.0.0.1 SPARK_LOCAL_HOSTNAME=127.0.0.1\n"
            "  ./submit.sh --master yarn spark_jobs/train.py --config ...\n"
            f"logs: {folder}; Ctrl-C ends it",
            flush=True,
        )
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return 0
    finally:
        yarn.stop()
        hdfs.stop()


if __name__ == "__main__":
    sys.exit(main())
