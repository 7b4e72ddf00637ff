"""Train the job of a YAML file: ``./submit.sh spark_jobs/train.py --config conf/digits.yaml``."""

import sys

from mxspark.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
