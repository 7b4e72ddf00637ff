"""From a command line on a bare machine to a running spark-submit.

Two processes, one after the other under the same pid: the machine's own Python makes the environment (``environment``,
``installer``, ``java``: standard library only), then the Python in it chooses Spark's settings, starts spark-submit and
owns every process below it (``settings``, ``children``).
"""
