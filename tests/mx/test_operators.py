"""MXNet's operators are compiled when they are called, and are what they are after a plain import."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import threading
from types import FunctionType
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from mxspark.mx.runtime import operators

# Of every function in MXNet's modules what can be seen of it from outside.
TELL_ALL = """
import sys
{how}
import inspect, json, os
found = {{}}
for module in [name for name in sys.modules if name.partition(".")[0] == "mxnet"]:
    for name, value in vars(sys.modules[module]).items():
        if inspect.isfunction(value) and not hasattr(value, "__wrapped__"):  # of numpy's built-in ones there is no more
            told = [value.__name__, value.__qualname__, value.__module__, value.__doc__, str(inspect.signature(value))]
            found[f"{{module}}.{{name}}"] = told
print(json.dumps(found), flush=True)
os._exit(0)
"""
PLAIN = "import mxnet"
OURS = "from mxspark.mx.runtime.importing import import_mxnet; import_mxnet()"


def run(code: str) -> str:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="a plain import of MXNet works with numpy 1.23 only")
def test_every_function_looks_as_after_a_plain_import() -> None:
    plain: dict[str, Any] = json.loads(run(TELL_ALL.format(how=PLAIN)))
    ours = json.loads(run(TELL_ALL.format(how=OURS)))
    assert len(plain) > 3000
    assert not [name for name in plain if ours.get(name) != plain[name]]


def test_functions_are_not_compiled_before_they_are_called_and_setuptools_is_left_alone() -> None:
    code = f"""
{OURS}
import sys, mxnet, os
import types
written = [value for module in (mxnet.nd.op, mxnet.sym.op) for value in vars(module).values()
           if isinstance(value, types.FunctionType) and value.__module__ in ("ndarray", "symbol")]
late = [value for value in written if "mxspark_late" in (value.__kwdefaults__ or ())]
assert len(late) == len(written) > 400, (len(late), len(written))
mxnet.nd.relu(mxnet.nd.ones(3)).wait_to_read()
assert mxnet.nd.relu.__kwdefaults__ is None
assert "setuptools" not in sys.modules and "distutils" not in sys.modules or sys.version_info >= (3, 12)
assert "exec" not in vars(mxnet.ndarray.register)
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("mxspark")]
import setuptools, distutils.version
print("done", flush=True)
os._exit(0)
"""
    assert run(code) == "done\n"


def written(text: str, name: str, scope: dict[str, Any]) -> FunctionType:
    defined: dict[str, FunctionType] = {}
    operators._define(scope, text, None, defined)
    assert list(defined) == [name]
    return defined[name]


def test_a_function_takes_its_defaults_and_sees_its_module() -> None:
    text = "\ndef double(value=3, *more, **others):\n    return FACTOR * value, more, others"
    assert str(inspect.signature(written(text, "double", {"FACTOR": 2}))) == "(value=3, *more, **others)"
    double = written(text, "double", {"FACTOR": 2})
    assert double() == (6, (), {})
    assert double(4, 5, six=6) == (8, (5,), {"six": 6})
    with pytest.raises(TypeError, match=r"double\(\) got multiple values for argument 'value'"):
        double(1, value=2)


def test_threads_that_call_first_at_once_get_the_same() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(100):
            function = written(f"\ndef add(value={number}, to=1):\n    return value + to", "add", {})
            together = threading.Barrier(4)
            found: list[int] = []

            def call(function: Any = function, together: Any = together, found: Any = found) -> None:
                together.wait()
                found.append(function(to=2))

            threads = [threading.Thread(target=call) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert found == [number + 2] * 4
    finally:
        sys.setswitchinterval(interval)


def test_a_signature_that_mxnet_sets_is_kept() -> None:
    function = written("\ndef add(value, to=1):\n    return value + to", "add", {})
    shown = inspect.signature(lambda a, b: None)
    vars(function)["__signature__"] = shown
    assert function(1) == 2
    assert inspect.signature(function) is shown


def test_text_that_is_no_function_is_run_at_once() -> None:
    defined: dict[str, Any] = {}
    operators._define({"one": 1}, "two = one + 1", None, defined)
    assert defined == {"two": 2}


def test_an_operator_computes_what_it_did_for_arrays_and_symbols() -> None:
    data = mx.nd.array([[1, -2], [-3, 4]])
    symbol = mx.sym.clip(mx.sym.Variable("x"), a_min=-1, a_max=2)
    assert np.array_equal(mx.nd.clip(data, -1, 2).asnumpy(), [[1, -1], [-1, 2]])
    assert np.array_equal(symbol.eval(x=data)[0].asnumpy(), [[1, -1], [-1, 2]])
