"""The fault campaigns in brief: nothing is lost, doubled, early or half-made. `make faults` is the whole of them."""

import pytest

from verification.faults import (
    clock,
    connections,
    crash,
    cut,
    delivery,
    failover,
    lostanswer,
    neighbour,
    poison,
    rebuild,
    restore,
    worker,
)
from verification.faults.campaign import CampaignSize
from verification.faults.environment import open_environment
from verification.faults.forked import Forked


@pytest.fixture(scope="module")
def fault_environment():
    with open_environment() as environment:
        environment.limit_s = 60.0
        environment.launch = Forked
        yield environment


def faults_of(outcomes):
    return {outcome.name: (str(outcome.verdict), outcome.broken) for outcome in outcomes if not outcome.well}


def test_a_connection_that_is_cut_or_goes_silent_at_any_message_leaves_one_whole_outcome(fault_environment, chance):
    assert {} == faults_of(cut.run(fault_environment, CampaignSize("brief"), chance))


def test_a_crash_of_postgres_loses_and_doubles_nothing(fault_environment, chance):
    assert {} == faults_of(crash.run(fault_environment, CampaignSize("brief"), chance))


def test_a_lost_answer_of_a_commit_loses_and_doubles_nothing(fault_environment, chance):
    assert {} == faults_of(lostanswer.run(fault_environment, CampaignSize("brief"), chance))


def test_a_trigger_that_cannot_be_carried_out_fails_alone(fault_environment, chance):
    assert {} == faults_of(poison.run(fault_environment, CampaignSize("brief"), chance))


def test_a_killed_delivery_process_loses_no_message_though_every_third_connection_drops(fault_environment, chance):
    assert {} == faults_of(delivery.run(fault_environment, CampaignSize("brief"), chance))


def test_a_server_that_is_set_back_to_a_moment_goes_on_from_there(fault_environment, chance):
    """The other ways to restore are in tests/routines/test_restore.py."""
    assert {} == faults_of(restore.run(fault_environment, CampaignSize("brief"), chance))


def test_rebuilds_that_are_killed_again_and_again_end_with_the_rows_that_the_log_gives(fault_environment, chance):
    assert {} == faults_of(rebuild.run(fault_environment, CampaignSize("brief"), chance))


def test_a_worker_that_is_killed_frozen_or_cut_off_ends_each_run_once_and_runs_no_command_beside_another(
    fault_environment, chance
):
    assert {} == faults_of(worker.run(fault_environment, CampaignSize("brief"), chance))


def test_a_hostile_tenant_costs_its_neighbour_no_request_no_occurrence_and_no_message(fault_environment, chance):
    """Nor memory or disk beyond their bounds. How long answers take is judged by the campaign in size."""
    assert {} == faults_of(neighbour.run(fault_environment, CampaignSize("brief"), chance))


@pytest.mark.skipif(clock.find_library() is None, reason="libfaketime is not installed")
def test_a_clock_that_jumps_changes_nothing(fault_environment, chance):
    assert {} == faults_of(clock.run(fault_environment, CampaignSize("brief"), chance))


def test_a_connection_that_went_bad_is_given_to_nobody(fault_environment, chance):
    """Ended, idle for too long, silent, or of a server that takes no writes for a while."""
    assert {} == faults_of(connections.run(fault_environment, CampaignSize("brief"), chance))


def test_a_failover_loses_and_doubles_nothing(fault_environment, chance):
    assert {} == faults_of(failover.run(fault_environment, CampaignSize("brief"), chance))
