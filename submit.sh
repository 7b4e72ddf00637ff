#!/usr/bin/env bash
# Finds a Python and hands over to it: everything else is in mxspark/submit.py (./submit.sh --help).
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
for python in python3 python3.12 python3.11 python3.10 python3.9; do
  if "$python" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 13))' 2>/dev/null; then
    export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
    exec "$python" -m mxspark.launch.submit "$@"
  fi
done
echo "mxspark: no Python 3.9 to 3.12 on the PATH ($(python3 --version 2>&1 | head -n 1) is python3);" \
  "install one, for instance the package python3.11, and put it on the PATH" >&2
exit 2
