"""The processes that own role processes: one agent a slot, one on the driver. No pyspark, no mxnet, no numpy.

An agent is one thread around one loop (:mod:`mxspark.system.loop`). It starts its roles from the main thread
(:mod:`role_process`, :mod:`roles`), and either follows the driver's agent (:mod:`slot`) or is it (:mod:`coordinator`).
What the coordinator does next is decided by a pure function (:mod:`decide`). Whoever needs an agent starts it through
:mod:`launch`.
"""
