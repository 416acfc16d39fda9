"""Projectors that share the read models between them, by the places that they hold."""

import pytest
from msgspec.structs import replace

from processes.projector import Projector
from projections import catalogue
from projections.engine import positions, shares
from projections.engine.shares import ProjectorPlace, Share
from routines import bootstrap
from tests.waiting import wait_for

NAMES = [model.name for model in catalogue.ALL]


@pytest.fixture
def looks_at_once(monkeypatch):
    monkeypatch.setattr(shares, "LOOK_S", 0.0)


def cost(models):
    return sum(shares.COSTS.get(model.name, shares.OTHERS) for model in models)


@pytest.mark.parametrize("many", [1, 2, 3, 40])
def test_every_read_model_is_in_one_share(many):
    names = [model.name for number in range(many) for model in Share(number, many).of(catalogue.ALL)]

    assert sorted(NAMES) == sorted(names)


def test_costs_are_those_of_read_models():
    assert set() == set(shares.COSTS) - set(NAMES)


@pytest.mark.parametrize("many", [2, 3])
def test_shares_cost_about_the_same(many):
    costs = [cost(Share(number, many).of(catalogue.ALL)) for number in range(many)]

    assert max(costs) - min(costs) <= max(shares.COSTS.values()) // 4


@pytest.mark.parametrize("process", ["scheduler", "delivery"])
def test_what_a_process_polls_is_in_one_share(process):
    holders = {
        number for number in range(3) for model in Share(number, 3).of(catalogue.ALL) if model.polled_by == process
    }

    assert 1 == len(holders)


def test_who_comes_takes_a_share_and_who_goes_leaves_it(conn, settings, looks_at_once):
    first = ProjectorPlace(conn, catalogue.ALL)
    assert Share(0, 1) == first.share()

    with bootstrap.connect(settings) as other:
        second = ProjectorPlace(other, catalogue.ALL)
        assert (Share(0, 2), Share(1, 2)) == (first.share(), second.share())

    while first.share() != Share(0, 1):  # Postgres may still be ending the connection
        pass


def test_places_close_up_when_an_earlier_one_is_left(settings, conn, looks_at_once):
    with bootstrap.connect(settings) as other:
        ProjectorPlace(other, catalogue.ALL)
        last = ProjectorPlace(conn, catalogue.ALL)
        assert Share(1, 2) == last.share()

    while last.share() != Share(0, 1):
        pass


def test_a_place_whose_process_is_silent_counts_as_free(conn, settings, looks_at_once, monkeypatch):
    with bootstrap.connect(settings) as silent:
        ProjectorPlace(silent, catalogue.ALL)
        monkeypatch.setattr(shares, "SILENT_S", 0.0)

        place = ProjectorPlace(conn, catalogue.ALL)
        wait_for(lambda: place.share() == Share(0, 1))  # Postgres may not say yet that it waits for its client


def test_a_place_whose_process_is_silent_in_the_midst_of_a_batch_counts_as_free(
    conn, settings, looks_at_once, monkeypatch
):
    with bootstrap.connect(settings) as silent, silent.pipeline():
        ProjectorPlace(silent, catalogue.ALL)
        monkeypatch.setattr(shares, "SILENT_S", 0.0)

        place = ProjectorPlace(conn, catalogue.ALL)
        wait_for(lambda: place.share() == Share(0, 1))  # as above; or Postgres is still at work for it


def test_a_projector_of_another_version_has_no_share_of_ours_for_it_may_not_move_all_of_them(
    conn, settings, looks_at_once
):
    of_before = [replace(model, version=0) if model.name == "routines" else model for model in catalogue.ALL]
    with bootstrap.connect(settings) as older:
        theirs, ours = ProjectorPlace(older, of_before), ProjectorPlace(conn, catalogue.ALL)

        assert (Share(0, 1), Share(0, 1)) == (theirs.share(), ours.share())


def test_without_a_free_place_a_projector_stands_by(conn, settings, system, monkeypatch, looks_at_once):
    monkeypatch.setattr(shares, "PLACES", 1)
    with bootstrap.connect(settings) as other:
        ProjectorPlace(other, catalogue.ALL)
        projector = Projector(catalogue.ALL, system.store.after)

        place = ProjectorPlace(conn, catalogue.ALL)

        projector.take(place.share())

        assert 0 == projector.step(conn)
    while place.share() != Share(0, 1):  # the place is free, or soon will be
        pass


def test_each_moves_its_share_alone_and_both_together_bring_all_to_the_head(told_story, conn):
    halves = [Projector(catalogue.ALL, told_story.store.after) for _ in range(2)]
    for number, projector in enumerate(halves):
        projector.take(Share(number, 2))
    own = [{model.name for model in Share(number, 2).of(catalogue.ALL)} for number in range(2)]

    before = {status.name: status.position for status in positions.status(conn)}
    while halves[0].step(conn):
        pass
    reached = {status.name: status.position for status in positions.status(conn)}
    assert own[0] == {name for name in NAMES if reached[name] == told_story.store.head()}
    assert [] == [name for name in own[1] if reached[name] != before[name]]

    while halves[1].step(conn):
        pass
    assert told_story.store.head() == positions.wait(conn, NAMES, 0)
