"""Read models as folds: once, in batches of any size, each at its own pace, and what happens when one cannot go on."""

import threading
from contextlib import suppress
from operator import attrgetter

import pytest
from msgspec.structs import replace

from domain.errors import ImpossibleHistory
from domain.events import STORED_NAMES, GoalCreated, IssueOpened, stored_name
from processes import follower as followers
from processes.projector import Projector
from projections import catalogue
from projections.board.directory import directory
from projections.engine import isolation, positions, rebuilds
from projections.engine.positions import Lagging
from routines import bootstrap
from tests.projections.sharing import SHARED
from tests.projections.story import all_folded, folded, rows

OTHERS = [one.name for one in catalogue.ALL if one.name != "directory"]
NAMES = [model.name for model in catalogue.ALL]


def status_by_name(conn):
    return {one.name: one for one in positions.status(conn)}


def all_rows(conn):
    return {model.name: rows(conn, model) for model in catalogue.ALL}


def failing_on(model, kind, armed):
    """The read model with a fold that raises on this kind of event while `armed` is true."""

    def fold(recorded, folded_rows):
        if armed and isinstance(recorded.event, kind):
            raise ValueError(recorded)
        model.fold(recorded, folded_rows)

    return replace(model, fold=fold)


def test_the_story_has_every_event_that_a_fold_could_meet(story_databases):
    event_names = {stored_name(one.event) for one in story_databases.log}

    assert set(STORED_NAMES) - event_names == {"agent.approved", "agent.resumed"}


@SHARED
def test_every_table_of_every_read_model_is_filled_by_the_story(projected_story, conn):
    assert [] == [
        name for tables in all_rows(conn).values() for name, rows_of_table in tables.items() if not rows_of_table
    ]


class Noticing:
    """Rows that nobody has, and whether anybody asked for one."""

    noticed = False

    def __getattr__(self, _name):
        self.noticed = True
        return lambda *_: None


def is_folded(model, recorded):
    rows_asked = Noticing()
    with suppress(ValueError, ImpossibleHistory):  # what it says of an event whose row is not there
        model.fold(recorded, rows_asked)
    return rows_asked.noticed


@pytest.mark.parametrize("model", [model for model in catalogue.ALL if model.events], ids=attrgetter("name"))
def test_a_read_model_names_every_kind_of_event_that_it_folds(story_databases, model):
    folded_kinds = {type(one.event) for one in story_databases.log if is_folded(model, one)}

    assert folded_kinds
    assert folded_kinds - model.events == set()


def test_the_size_of_the_batches_makes_no_difference(told_story, conn, story_databases):
    while positions.advance(conn, catalogue.ALL, told_story.store.after, limit=7):
        pass
    log = story_databases.log
    at_once = all_folded(conn, catalogue.ALL, log, len(log))
    one_by_one = all_folded(conn, catalogue.ALL, log, 1)

    for model in catalogue.ALL:
        assert one_by_one[model.name] == at_once[model.name], model.name
        assert rows(conn, model) == at_once[model.name], model.name


@SHARED
def test_advancing_at_the_head_changes_nothing(projected_story, conn):
    before = all_rows(conn)

    assert positions.advance(conn, catalogue.ALL, projected_story.store.after) == 0

    assert all_rows(conn) == before
    assert {one.position for one in positions.status(conn)} == {projected_story.store.head()}


def test_two_projectors_at_once_apply_each_event_once(told_story, conn, settings):
    log = list(told_story.store.history())
    wrong = []

    def follow():
        try:
            with bootstrap.connect(settings) as own:
                while positions.advance(own, catalogue.ALL, told_story.store.after, limit=10):
                    pass
        except Exception as error:  # noqa: BLE001 a thread tells nobody
            wrong.append(error)

    threads = [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    at_once = all_folded(conn, catalogue.ALL, log, len(log))
    for model in catalogue.ALL:
        assert rows(conn, model) == at_once[model.name], model.name


def test_those_furthest_behind_move_first(told_story, conn):
    ahead = next(model for model in catalogue.ALL if model.name == "issues")
    positions.advance(conn, [ahead], told_story.store.after)
    at = status_by_name(conn)["issues"].position

    positions.advance(conn, catalogue.ALL, told_story.store.after, limit=5)

    moved = status_by_name(conn)
    assert moved["directory"].position == 5
    assert moved["issues"].position == at


@SHARED
def test_what_a_fold_raises_leaves_rows_and_position_as_they_were(told_story, conn):
    issues = next(model for model in catalogue.ALL if model.name == "issues")
    before = rows(conn, issues), status_by_name(conn)["issues"].position

    with pytest.raises(ValueError, match="IssueOpened"):
        positions.advance(conn, [failing_on(issues, IssueOpened, [True])], told_story.store.after)

    assert (rows(conn, issues), status_by_name(conn)["issues"].position) == before


def test_an_error_of_a_small_batch_rolls_back_what_it_has_written_before(told_story, conn):
    """A fold that changes many rows with a statement of its own writes before the end of the batch."""
    before = status_by_name(conn)["issues"].position

    def fold(recorded, folded_rows):
        folded_rows.execute(
            "INSERT INTO issue_numbering (id, prefix, last) VALUES (%s, 'ACM', 1)", [recorded.stream_id]
        )
        raise ValueError(recorded)

    issues = replace(next(model for model in catalogue.ALL if model.name == "issues"), fold=fold, events=None)
    batch = told_story.store.after(before, 1)
    numbers = rows(conn, issues)

    with pytest.raises(ValueError, match="Recorded"):
        positions.move(conn, [issues], before, batch)

    assert (numbers, before) == (rows(conn, issues), status_by_name(conn)["issues"].position)
    assert positions.advance(
        conn, [next(model for model in catalogue.ALL if model.name == "issues")], told_story.store.after
    )


def follow_all(projector, conn):
    for _ in range(1000):
        if not projector.step(conn):
            return
    pytest.fail("The projector does not come to the head")


def test_an_event_that_a_read_model_cannot_take_is_passed_over_by_that_one_alone_on_the_record(
    told_story, conn, capsys
):
    log = list(told_story.store.history())
    models = [failing_on(one, GoalCreated, [True]) if one.name == "directory" else one for one in catalogue.ALL]
    poison = next(one for one in log if isinstance(one.event, GoalCreated))
    others = [one for one in log if not isinstance(one.event, GoalCreated)]

    follow_all(Projector(models, told_story.store.after), conn)

    statuses = status_by_name(conn)
    assert [(statuses[name].position, statuses[name].stopped) for name in NAMES] == [(len(log), None)] * len(NAMES)
    assert [statuses[name].isolated for name in OTHERS] == [0] * len(OTHERS)
    assert rows(conn, directory) == folded(conn, directory, others, 1000)
    isolated = isolation.isolated_events(conn, 100)
    assert len(isolated) == statuses["directory"].isolated == len(log) - len(others)
    assert (isolated[-1].read_model, isolated[-1].position) == ("directory", poison.position)
    assert (isolated[-1].name, isolated[-1].reason) == ("goal.created", "ValueError")
    assert (isolated[-1].stream_id, isolated[-1].company_id) == (poison.stream_id, poison.company_id)


def test_a_rebuild_takes_in_what_was_passed_over(told_story, conn, capsys):
    log = list(told_story.store.history())
    models = [failing_on(one, GoalCreated, [True]) if one.name == "directory" else one for one in catalogue.ALL]
    follow_all(Projector(models, told_story.store.after), conn)

    rebuilds.rebuild(conn, directory, told_story.store.after)

    assert isolation.isolated_events(conn, 100) == []
    assert rows(conn, directory) == folded(conn, directory, log, 1000)


def test_a_read_model_without_its_tables_stops_alone_and_goes_on_when_they_are_back(
    told_story, conn, capsys, monkeypatch
):
    monkeypatch.setattr(followers, "RETRY_S", 0.0)
    log = list(told_story.store.history())
    conn.execute("ALTER TABLE goal RENAME TO lost")
    projector = Projector(catalogue.ALL, told_story.store.after)

    while {status_by_name(conn)[name].position for name in OTHERS} != {len(log)}:
        projector.step(conn)

    statuses = status_by_name(conn)
    assert (statuses["directory"].stopped, statuses["directory"].isolated) == ("UndefinedTable", 0)
    assert [(statuses[name].position, statuses[name].stopped) for name in OTHERS] == [(len(log), None)] * len(OTHERS)

    conn.execute("ALTER TABLE lost RENAME TO goal")
    follow_all(projector, conn)

    statuses = status_by_name(conn)
    assert (statuses["directory"].position, statuses["directory"].stopped) == (len(log), None)
    assert rows(conn, directory) == folded(conn, directory, log, 1000)


def test_one_that_stopped_does_not_hold_up_what_comes_later(told_story, conn, capsys):
    conn.execute("ALTER TABLE goal RENAME TO lost")
    projector = Projector(catalogue.ALL, told_story.store.after)
    follow_all(projector, conn)

    told_story.fire(told_story.ids["piles"])
    follow_all(projector, conn)

    assert positions.wait(conn, OTHERS, 0) == told_story.store.head()
    with pytest.raises(Lagging, match="directory"):
        positions.wait(conn, ["directory"], 0)


@SHARED
def test_waiting_for_what_is_there_takes_no_time(projected_story, conn):
    assert positions.wait(conn, NAMES, 0) == projected_story.store.head()


def test_waiting_ends_as_soon_as_somebody_advances(told_story, conn, settings):
    def advance():
        with bootstrap.connect(settings) as own:
            while positions.advance(own, catalogue.ALL, told_story.store.after):
                pass

    thread = threading.Thread(target=advance)
    thread.start()
    reached = positions.wait(conn, NAMES, 10)
    thread.join()

    assert reached >= told_story.store.head()


@SHARED
def test_waiting_ends_when_nothing_advances(told_story, conn):
    with pytest.raises(Lagging, match="events behind the log") as lagging:
        positions.wait(conn, ["issues", "routines"], 0.3)

    assert lagging.value.names == ["issues", "routines"]
    assert lagging.value.behind == told_story.store.head()


def test_waiting_asks_only_for_what_was_there_at_the_call(projected_story, conn, settings):
    """Writers that never rest do not make a reader wait for ever."""
    routine_id = projected_story.ids["piles"]
    stop = threading.Event()

    def write():
        while not stop.is_set():
            projected_story.fire(routine_id)

    def follow():
        with bootstrap.connect(settings) as own:
            while not stop.is_set():
                positions.advance(own, catalogue.ALL, projected_story.store.after, limit=2)

    threads = [threading.Thread(target=write), threading.Thread(target=follow)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            head = projected_story.store.head()
            assert positions.wait(conn, NAMES, 5) >= head
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@SHARED
def test_a_read_model_nobody_knows_is_never_up_to_date(story, conn):
    with pytest.raises(Lagging):
        positions.wait(conn, ["issues", "weather"], 0)
