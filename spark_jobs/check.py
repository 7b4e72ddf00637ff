"""Find out what would keep a job from running: ``./submit.sh --master yarn spark_jobs/check.py --config job.yaml``."""

import sys

from mxspark.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["check", *sys.argv[1:]]))
