"""What a worker process does before it trains."""

from __future__ import annotations

import os
import subprocess
import sys

from mxspark.mx import worker

LARGE_COPY = """
import os, sys
os.environ.update(dict([{setting}]))
from mxspark.mx.runtime.importing import import_mxnet
mx = import_mxnet()
array = mx.nd.ones((500, 1000))
array.wait_to_read()
before = len(os.listdir("/proc/self/task"))
array.asnumpy()
print(len(os.listdir("/proc/self/task")) - before, flush=True)
os._exit(0)
"""


def threads_started(setting: str) -> int:
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "2", "PYTHONPATH": os.getcwd()}
    code = LARGE_COPY.format(setting=setting)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    return int(done.stdout)


def test_a_large_copy_in_the_main_thread_starts_no_team_of_threads() -> None:
    assert threads_started(repr(worker.PARALLEL_COPY)) == 0
    assert threads_started("") == 1, "without the setting it does"


def test_hidden_packages_can_be_imported_afterwards() -> None:
    code = (
        "from mxspark.mx.runtime.importing import import_mxnet; import_mxnet(); import sys; "
        "assert 'scipy' not in sys.modules and 'requests' not in sys.modules; "
        "import mxnet.gluon.utils as utils; assert utils.requests.get.__module__ == 'requests.api'; "
        "import scipy, requests; assert requests.get is utils.requests.get; "
        "from mxnet import np, npx; import os; os._exit(0)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=300, check=True)
