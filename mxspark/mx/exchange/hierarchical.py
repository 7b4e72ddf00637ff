"""The exchange that sums inside a host first: gradients live in memory the workers of a host share.

A step: MXNet writes each worker's gradients straight into its segment; all meet; each adds its share of all segments,
in order of rank, into the totals, and updates its share of the values, which lie in shared memory, too; all meet. Where
an update cannot be divided, all meet before it, and each updates all of its own values. With several hosts, the leader
of each, who alone is a worker of ps-lite, sums the totals of the hosts through the servers before the update.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

import mxnet as mx
import numpy as np
from mxnet import autograd

from mxspark.errors import TrainingCodeError
from mxspark.mx.exchange.base import EachUpdates, refuse_sparse
from mxspark.mx.exchange.kvstore import KVStoreExchange
from mxspark.mx.exchange.peers import Peers
from mxspark.mx.exchange.shared_memory import Layout, Mapped, Sum, give_back, map_segment
from mxspark.mx.exchange.shared_values import Plan, SharedValues, in_place, kinds
from mxspark.mx.runtime.attribution import training_code
from mxspark.mx.state.division import Division
from mxspark.protocol.specs import Inherited

if TYPE_CHECKING:
    from mxnet.gluon import Parameter

    from mxspark.mx.exchange.base import Vector


class HierarchicalExchange(EachUpdates):
    """The workers of one host add in shared memory, the leaders of the hosts through the servers.

    Parameters
    ----------
    rank, size : int
        Of all workers.
    given : Inherited
        What the agent handed down: who is on which host, segments, and sockets to the other workers of this host.
    has_store : bool
        Whether this worker is one of ps-lite's: the leader of its host, where there are servers at all.
    """

    def __init__(self, rank: int, size: int, given: Inherited, has_store: bool) -> None:
        self.rank, self.size = rank, size
        self._given = given
        self._peers = Peers(rank, dict(given.peers))  # a worker that dies is an end of file here, for all at once
        host = next(place for place, members in enumerate(given.hosts) if rank in members)
        self._members = given.hosts[host]
        # Within the servers a worker is its host: ps-lite knows of nobody but the leaders.
        self._store = KVStoreExchange(host, len(given.hosts)) if has_store else None
        self._abroad_s = 0.0  # the leader's, waiting for other hosts
        # All of this host are there before one of them reports that it is part of the group.
        self._peers.meet()
        self._shared: Optional[Mapped] = None

    @property
    def _several(self) -> bool:
        return len(self._given.hosts) > 1

    @property
    def waited_s(self) -> Optional[float]:
        """Seconds this rank has waited for others; None on a host of one worker, which pushes while it computes."""
        if self._several and len(self._members) == 1:
            return None
        return self._peers.waited_s + self._abroad_s

    def broadcast(self, parameters: Sequence[Parameter]) -> None:
        """Give every rank the values of rank 0, and values and gradients their places in the shared memory."""
        refuse_sparse(parameters)
        if self._store is not None and self._several:  # of one host the leader is rank 0 itself, and nothing is pushed
            self._store.broadcast(parameters)
        if len(self._members) == 1:
            return
        layout = self._agreed_layout(parameters)
        self._shared = self._share(layout, parameters)
        for parameter in self._trained:
            self._move_gradient(parameter, self._shared)
        mx.nd.waitall()
        give_back()

    def _agreed_layout(self, parameters: Sequence[Parameter]) -> Layout:
        """Return the layout of all; with another one a worker would add one parameter's gradient to another's."""
        layout = Layout.of(parameters)
        digests = self._peers.exchange(layout.digest)
        if len(set(digests.values())) > 1:
            odd = [rank for rank in self._members if digests[rank] != digests[self._members[0]]]
            raise TrainingCodeError(
                f"the networks of worker {', '.join(map(str, odd))} and of worker {self._members[0]} have other "
                "parameters: make training.network build the same network in every process"
            )
        return layout

    def _share(self, layout: Layout, parameters: Sequence[Parameter]) -> Mapped:
        place, of = self._members.index(self.rank), len(self._members)
        is_divided = self._updater.division is not Division.NOTHING
        trained = {index: one for index, one in enumerate(parameters) if one.grad_req != "null"}
        index_of = {one.name: index for index, one in trained.items()}
        plan = Plan.of(layout, kinds(self._updater, layout, index_of)) if is_divided else None
        segments, totals = self._map(layout.nbytes, plan.nbytes if plan is not None else layout.nbytes)
        runs = [run.share(place, of) for run in layout.trained]
        values = None
        if plan is not None:
            values = SharedValues(layout, plan, totals, trained)
            pieces = values.pieces(self._updater, place, of)
            runs = [piece.run for piece in pieces]
        self._spread(layout, parameters, totals, values)
        if values is not None:
            values.divide(self._updater, pieces)
            mx.nd.waitall()
            self._peers.meet()  # what is kept of all is there before one of them is asked for it
        statistics = [run.share(place, of) for run in layout.statistics]
        return Mapped(
            layout,
            segments[place],
            totals,
            [in_place(layout.places[parameter.name].view(totals)) for parameter in self._trained],
            Sum(runs, segments, totals),
            Sum(statistics, segments, totals),
            is_divided,
        )

    def _map(self, segment_bytes: int, bytes_of_all: int) -> tuple[list[Any], Any]:
        place = self._members.index(self.rank)
        # The agent made them empty, as it does not know the network. Each gives its own segment its size, and all meet
        # before any is mapped: a page beyond the end of a file is a SIGBUS.
        os.ftruncate(self._given.segments[place], segment_bytes)
        if place == 0:
            os.ftruncate(self._given.totals, bytes_of_all)
        self._peers.meet()
        segments = [map_segment(fd, segment_bytes) for fd in self._given.segments]
        return segments, map_segment(self._given.totals, bytes_of_all)

    def _spread(
        self, layout: Layout, parameters: Sequence[Parameter], totals: Any, values: Optional[SharedValues]
    ) -> None:
        """Give all of this host the leader's values: private ones by way of the totals, which are not needed yet."""
        private = [parameter for parameter in parameters if values is None or parameter.grad_req == "null"]
        if self.rank == self._members[0]:
            for parameter in private:
                layout.places[parameter.name].view(totals)[...] = parameter.data().asnumpy()
            if values is not None:
                values.write(self._updater)
        self._peers.meet()
        if self.rank != self._members[0]:
            for parameter in private:
                value = layout.places[parameter.name].view(totals)
                parameter.set_data(mx.nd.array(value, dtype=value.dtype))
        if values is not None:
            values.move()
        # Everybody has copied the values: only now may the first step write sums over them.
        mx.nd.waitall()
        self._peers.meet()

    def _move_gradient(self, parameter: Parameter, shared: Mapped) -> None:
        """Let MXNet write the gradient of a parameter into this worker's segment."""
        place = shared.layout.places[parameter.name]
        parameter._grad = [in_place(place.view(shared.own))]
        autograd.mark_variables(parameter.list_data(), parameter._grad, parameter.grad_req)

    def step(self, rows: int) -> Sequence[Any]:
        """Update by the sums of the gradients of all, this worker its share where that may be."""
        shared = self._shared
        if shared is None or not shared.is_divided:
            return super().step(rows)
        self._add(shared)
        if self._several:
            self._peers.meet()
            self._add_abroad(shared)
        with training_code():
            self._updater.update(rows)
        mx.nd.waitall()
        # All shares of the values are there. Until then nobody may compute with them, nor write its next gradients.
        self._peers.meet()
        return shared.sums

    def sum_gradients(self, parameters: Sequence[Parameter]) -> Sequence[Any]:
        """Wait for the gradients, add them up with those of the others, and return where the sums lie."""
        shared = self._shared
        if shared is None:
            return self._store.sum_gradients(parameters) if self._store else [p.grad() for p in parameters]
        self._add(shared)
        # All shares of the totals are there. Until then nobody may read them, nor write its next gradients.
        self._peers.meet()
        if self._several:
            self._add_abroad(shared)
        return shared.sums

    def _add(self, shared: Mapped) -> None:
        """Wait for the gradients of all, and add this worker's share of them."""
        # An error of the network's operators comes out where their results are waited for, and is the user's.
        with training_code():
            for parameter in self._trained:
                parameter.grad().wait_to_read()
                parameter.data().wait_to_read()  # the update before has read the totals
            if shared.is_divided:
                mx.nd.waitall()  # whatever else computes with the values, or copies them: they are about to change
        # All gradients are in their segments, and nobody reads the totals of the step before any more.
        self._peers.meet()
        shared.gradients()

    def _add_abroad(self, shared: Mapped) -> None:
        """Add up the totals of all hosts."""
        if self._store is not None:
            before = time.perf_counter()
            self._store.sum_arrays(self._trained, shared.sums)
            for total in shared.sums:
                total.wait_to_read()
            self._abroad_s += time.perf_counter() - before
        # The leader has put the sums over all hosts where the others read them. One that dies before is missed here by
        # its host, and by the other hosts' leaders in the servers.
        self._peers.meet()

    def average(self, parameters: Sequence[Parameter]) -> None:
        """Replace values by their mean over all ranks."""
        shared = self._shared
        if not parameters or self.size == 1:
            return
        if shared is None:  # the only worker of its host
            self._average_alone(parameters)
            return
        # The same meetings as for gradients, in a part of the segments of their own.
        places = [shared.layout.places[parameter.name] for parameter in parameters]
        for parameter, place in zip(parameters, places):
            place.view(shared.own)[...] = parameter.data().asnumpy()
        self._peers.meet()
        shared.statistics()
        self._peers.meet()
        if self._several:
            totals = [in_place(place.view(shared.totals)) for place in places]
            if self._store is not None:
                self._store.sum_arrays(parameters, totals)
            mx.nd.waitall()
            self._peers.meet()
        for parameter, place in zip(parameters, places):
            mean = place.view(shared.totals) / np.array(self.size, dtype=place.dtype)
            parameter.set_data(mx.nd.array(mean, dtype=place.dtype))
        # Nobody begins the next sum over totals that another still reads.
        self._peers.meet()

    def _average_alone(self, parameters: Sequence[Parameter]) -> None:
        assert self._store is not None
        data = [parameter.data() for parameter in parameters]
        self._store.sum_arrays(parameters, data)
        for value in data:
            value /= self.size

    def gather(self, values: Vector) -> Vector:
        """Return the vectors of all ranks: over sockets inside the host, through the servers between hosts."""
        table = np.zeros((self.size, len(values)))
        for rank, data in self._peers.exchange(np.ascontiguousarray(values).tobytes()).items():
            table[rank] = np.frombuffer(data)
        if not self._several:
            return table
        # Rows of other hosts are zero so far; the leaders add tables that are zero wherever another's is not.
        if self._store is not None:
            before = time.perf_counter()
            table = self._store.sum_table(table)
            self._abroad_s += time.perf_counter() - before
        leaders = self._peers.exchange(table.tobytes())
        return np.frombuffer(leaders[self._members[0]]).reshape(table.shape).copy()

    def close(self) -> None:
        """Meet for the last time; the leaders then leave the servers in order."""
        # The leader's leaving ends in a barrier of all hosts: it goes last, when nobody of its host needs it any more.
        mx.nd.waitall()
        self._peers.meet()
        if self._store is not None:
            self._store.close()
