from uuid import uuid4

import pytest

from application.request_bodies.issues import Checkout, IssuePatch
from application.use_cases import run_logs
from application.use_cases.board import issues
from domain.errors import Conflict, Forbidden, NotFound, Unauthenticated
from domain.identity import issue_of_run

SESSION, OTHER = uuid4(), uuid4()


def may_write(here, run, session=SESSION, caller=None):
    return here.executor.query_as(caller or here.as_agent(), run_logs.open_to, run, session)


@pytest.fixture
def run(here):
    fired = here.fire(here.routine())
    take = Checkout(agent_id=here.agent, expected_statuses=("todo",))
    here.ask(issues.check_out, issue_of_run(fired), take, SESSION, caller=here.as_agent())
    return fired


def test_the_session_that_has_the_issue_of_a_run_writes_its_log(here, run):
    assert (here.company, SESSION) == may_write(here, run)


def test_nobody_else_does(here, run):
    with pytest.raises(Conflict, match="ownership"):
        may_write(here, run, OTHER)
    with pytest.raises(Unauthenticated):
        may_write(here, run, None)
    with pytest.raises(Forbidden):
        may_write(here, run, caller=here.admin)
    with pytest.raises(Forbidden):
        may_write(here, run, caller=here.as_agent(here.another_agent()))
    with pytest.raises(NotFound):
        may_write(here, uuid4())


def test_a_session_that_has_ended_its_work_does_not(here, run):
    here.ask(issues.update, issue_of_run(run), IssuePatch(status="done"), SESSION, caller=here.as_agent())

    with pytest.raises(Conflict, match="not checked out"):
        may_write(here, run)
