"""`routines quotas`: which companies are near a quota."""

import json

import pytest
from click.testing import CliRunner

from routines.cli import main
from tests.api import Api
from tests.waiting import wait_for


@pytest.fixture
def quotas(api: Api):
    """Calls the command over the database of the API, with these limits."""

    def call(*arguments, **limits):
        env = {"ROUTINES_DATABASE_URL": api.system.settings.database_url}
        env |= {f"ROUTINES_{name.upper()}": str(value) for name, value in limits.items()}
        result = CliRunner().invoke(main, ["quotas", *arguments], env=env, prog_name="routines")
        assert 0 == result.exit_code, result.output
        return result.output

    return call


@pytest.fixture
def busy_company(api: Api):
    """A company with four goals, and a name that would move a terminal's cursor."""
    company = api.company("Busy\x1b[2J")
    for _ in range(4):
        api.post(f"/companies/{company}/goals", {"title": "Grow"})
    wait_for(lambda: len(api.get(f"/companies/{company}/goals")) == 4)
    return company


def test_companies_near_a_quota_are_shown(quotas, busy_company):
    output = quotas(max_company_goals=5)

    [line] = [line for line in output.splitlines() if busy_company in line]
    assert "80%" in line
    assert "max_company_goals" in line
    assert "Busy?[2J" in line
    assert busy_company not in quotas(max_company_goals=10)


def test_of_one_company_all_that_it_uses_is_shown(quotas, busy_company):
    usages = [json.loads(line) for line in quotas("--company", busy_company, "--json").splitlines()]

    by_quota = {one["quota"]: (one["used"], one["limit"]) for one in usages}
    assert (4, 5_000) == by_quota["max_company_goals"]
    assert (1, 1_000) == by_quota["max_company_members"]
    assert {busy_company} == {one["company_id"] for one in usages}
    assert by_quota["max_company_events_per_minute"][0] >= 6


def test_the_help_says_how_a_quota_is_raised(quotas):
    assert "ROUTINES_MAX_COMPANY_ROUTINES=20000" in quotas("--help")
