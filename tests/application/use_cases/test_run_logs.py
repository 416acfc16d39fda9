from uuid import uuid4

import pytest

from application.request_bodies.issues import Checkout, IssuePatch
from application.use_cases import run_logs
from application.use_cases.board import issues
from domain.errors import Conflict, Forbidden, NotFound, Unauthenticated
from domain.identity import issue_of_run

SESSION, OTHER = uuid4(), uuid4()


def may_write(app, run, session=SESSION, caller=None):
    return app.executor.query_as(caller or app.as_agent(), run_logs.open_to, run, session)


@pytest.fixture
def run(app):
    run = app.fire(app.routine())
    take = Checkout(agent_id=app.agent, expected_statuses=("todo",))
    app.ask(issues.check_out, issue_of_run(run), take, SESSION, caller=app.as_agent())
    return run


def test_the_session_that_has_the_issue_of_a_run_writes_its_log(app, run):
    assert (app.company, SESSION) == may_write(app, run)


def test_nobody_else_writes_the_log_of_a_run(app, run):
    with pytest.raises(Conflict, match="ownership"):
        may_write(app, run, OTHER)
    with pytest.raises(Unauthenticated):
        may_write(app, run, None)
    with pytest.raises(Forbidden):
        may_write(app, run, caller=app.admin)
    with pytest.raises(Forbidden):
        may_write(app, run, caller=app.as_agent(app.another_agent()))
    with pytest.raises(NotFound):
        may_write(app, uuid4())


def test_a_session_that_has_ended_its_work_writes_no_log_any_more(app, run):
    app.ask(issues.update, issue_of_run(run), IssuePatch(status="done"), SESSION, caller=app.as_agent())

    with pytest.raises(Conflict, match="not checked out"):
        may_write(app, run)
