"""``mxspark train`` on rows that wait at a gate while they are spooled."""

from __future__ import annotations

import sys

from spark.gates import read_gated

from mxspark.cli.main import main
from mxspark.spark.spool import inputs

gates, *arguments = sys.argv[1:]
inputs.read = read_gated(gates)
sys.exit(main(arguments))
