"""``python -m mxspark``."""

import sys

from mxspark.cli import main

sys.exit(main())
