"""``python -m mxspark``."""

import sys

from mxspark.cli.main import main

sys.exit(main())
