"""Sums inside the host: as exact as those of the servers, the same bits run to run, on one host or pretended ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import role_jobs
from role_harness import make_spec, run_group
from test_gluon_loop import SGD, Beyond, distance, final, plain_loop

from mxspark.protocol import events

EIGHT = pytest.param(8, 1, marks=pytest.mark.long)


def test_two_hundred_steps_agree_with_the_servers_and_repeat_bit_for_bit(tmp_path):
    spec = make_spec(tmp_path, counts=(250,), batch_size=25, optimizer=SGD, epochs=20, every_epochs=20)
    assert spec.training_data.plan.steps * 20 == 200
    through_servers = final(run_group(spec, 2))
    one, again = (run_group(spec, 2, hosts=1) for _ in range(2))
    assert distance(final(one), through_servers) < 1e-6
    assert one.of(events.Done)[0].digest == again.of(events.Done)[0].digest


@pytest.mark.parametrize(("size", "hosts"), [(1, 1), (3, 1), (4, 2), (3, 2), EIGHT])
def test_any_number_of_workers_and_hosts_trains_what_one_machine_trains(tmp_path, size, hosts):
    job = {"network": "lenet", "optimizer": SGD, "epochs": 4, "every_epochs": 99}
    spec = make_spec(tmp_path, counts=(90, 0, 93, 47), batch_size=24, **job)
    servers = 1 if hosts > 1 else 0
    one, again = (run_group(spec, size, servers=servers, hosts=hosts) for _ in range(2))
    assert distance(final(one), plain_loop(spec, role_jobs.lenet, SGD, epochs=4)) < 1e-6
    assert {one.of(events.Done, rank)[0].digest for rank in range(size)} == {again.of(events.Done)[0].digest}


def test_an_optimizer_that_writes_into_its_gradients_trains_the_same(tmp_path):
    """AdaDelta scales them where they lie, which is in the memory of all."""
    optimizer = {"name": "adadelta", "rho": 0.9, "epsilon": 1e-3}
    spec = make_spec(tmp_path, counts=(90, 57), optimizer=optimizer, epochs=2, every_epochs=9)
    assert distance(final(run_group(spec, 2, hosts=1)), final(run_group(spec, 2))) < 1e-6


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("network", ["with_batch_norm", "sometimes_used"])
def test_statistics_and_gradients_that_not_every_step_makes(tmp_path, network, hosts):
    """Running statistics are averaged; a gradient that a step does not make counts as zero."""
    job = {"network": network, "optimizer": SGD, "epochs": 2, "every_epochs": 1}
    spec = make_spec(tmp_path, counts=(61,), batch_size=10, **job)
    through_servers = final(run_group(spec, 3))
    inside = final(run_group(spec, 3, hosts=hosts))
    assert distance(inside, through_servers) < 1e-6


def test_a_killed_run_resumes_bit_for_bit(tmp_path):
    spec = make_spec(tmp_path, counts=(90, 57), network="with_dropout", epochs=3, every_steps=4, every_epochs=1)
    whole = run_group(spec, 3, hosts=1)
    killed = run_group(spec, 3, hosts=1, stop=Beyond(10, 8))
    assert killed.returncodes == [-9] * 3 and not killed.of(events.Done)
    resumed = run_group(replace(spec, restore=killed.restore(8)), 3, hosts=1)
    assert resumed.of(events.Started)[0].step == 8
    assert resumed.of(events.Done)[0].digest == whole.of(events.Done)[0].digest


def test_networks_that_differ_between_processes_are_refused(tmp_path):
    outcome = run_group(make_spec(tmp_path, network="other_on_rank_1"), 2, hosts=1)
    (raised,) = outcome.of(events.Raised)
    assert (
        raised.who == "training" and "make training.network build the same network in every process" in raised.message
    )


def test_each_worker_knows_how_long_it_waited_but_for_one_that_pushes_while_it_computes(tmp_path):
    spec = make_spec(tmp_path, counts=(90, 57), epochs=2)
    outcome = run_group(spec, 3, hosts=2)
    waited = [outcome.of(events.Beat, rank)[-1].meeting_s for rank in range(3)]
    alone = [rank for rank, seconds in enumerate(waited) if seconds is None]
    assert len(alone) == 1 and all(seconds > 0.0 for seconds in waited if seconds is not None), waited
    assert run_group(spec, 2).of(events.Beat)[-1].meeting_s is None, "through the servers alone"
