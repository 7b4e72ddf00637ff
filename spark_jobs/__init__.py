"""Jobs to run with ``submit.sh`` and networks to start from."""
