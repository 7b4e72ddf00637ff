"""The link: one process a host that carries the roles' unix sockets to other hosts, through one port.

Started and owned by the agent that leads its host (:mod:`mxspark.agent.link_process`), told what to do over an
inherited socket (:mod:`mxspark.protocol.link`). Standard library alone, but for :mod:`issue`, which only a driver
imports.

What is decided is decided by functions and by objects that do no I/O (:mod:`rules`, :mod:`greeting`, :mod:`refusals`);
sockets and waiting are in all others, around one loop, whose centre is :mod:`node`.
"""
