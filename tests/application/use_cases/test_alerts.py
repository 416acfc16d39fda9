import pytest

from application.request_bodies.issues import IssuePatch
from application.use_cases import alerts
from application.use_cases.board import issues
from domain.events import AlertClosed, AlertFailing, AlertOverdue, AlertStuck, AlertUntaken
from domain.identity import issue_of_run
from domain.routines.alert import DueAlert
from tests.application.use_cases.installation import HOUR


@pytest.fixture
def routine(app):
    return app.routine()


@pytest.fixture
def run(app, routine):
    return app.fire(routine)


def alert(app, routine, run, kind="untaken", step="raise"):
    """The scheduler finds an alert that is due."""
    row = DueAlert(
        id=issue_of_run(run),
        company_id=app.company,
        kind=kind,
        step=step,
        since=app.now,
        routine_id=routine,
        run_id=run,
        bound_sec=3_600,
    )
    return app.carry_out(alerts.settle, [row])


def test_a_trouble_is_told_once_with_the_title_of_its_routine(app, routine, run):
    assert [1, 0] == [alert(app, routine, run) for _ in range(2)]

    assert app.events(AlertUntaken) == [
        AlertUntaken(
            subject_id=issue_of_run(run),
            routine_id=routine,
            title="Check the inbox",
            run_id=run,
            since=app.now,
            bound_sec=3_600,
        )
    ]


def test_a_trouble_that_is_over_is_told_once_and_only_if_it_was_told_before(app, routine, run):
    assert 0 == alert(app, routine, run, step="close")
    alert(app, routine, run)

    assert [1, 0] == [alert(app, routine, run, step="close") for _ in range(2)]
    assert ["untaken"] == [event.kind for event in app.events(AlertClosed)]


@pytest.mark.parametrize(("kind", "status"), [("untaken", "in_progress"), ("stuck", "todo"), ("overdue", "done")])
def test_a_row_that_has_become_stale_tells_nothing(app, routine, run, kind, status):
    app.ask(issues.update, issue_of_run(run), IssuePatch(status=status), None)

    assert 0 == alert(app, routine, run, kind)
    assert [] == app.events(AlertUntaken, AlertStuck, AlertOverdue)


def test_the_same_trouble_is_another_one_when_it_begins_again(app, routine, run):
    alert(app, routine, run)
    alert(app, routine, run, step="close")
    app.passes(HOUR)

    assert 1 == alert(app, routine, run)


def test_a_failing_routine_says_why_its_run_failed(app, routine, run):
    patch = IssuePatch(status="cancelled", failure_reason="exit status 3")
    app.ask(issues.update, issue_of_run(run), patch, None)
    row = DueAlert(
        id=routine,
        company_id=app.company,
        kind="failing",
        step="raise",
        since=app.now,
        routine_id=routine,
        run_id=run,
        count=1,
    )

    app.carry_out(alerts.settle, [row])

    assert ["exit status 3"] == [event.reason for event in app.events(AlertFailing)]
