"""docs/decisions/README.md lists every decision with its title, its date and its status."""

import re
from datetime import date

import pytest

ROW = re.compile(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+?) \| ([\d-]+) \| (.+?) \|$", re.MULTILINE)


@pytest.fixture
def decisions(root):
    return root / "docs/decisions"


@pytest.fixture
def rows(decisions):
    return ROW.findall((decisions / "README.md").read_text())


def test_every_decision_is_listed_in_order(decisions, rows):
    assert sorted(path.name for path in decisions.glob("[0-9]*.md")) == [file for _, file, *_ in rows]


def test_a_row_has_the_number_and_the_title_of_its_decision(decisions, rows):
    headings = [(decisions / file).read_text().partition("\n")[0] for _, file, *_ in rows]

    assert [re.sub(r"^# *\d+\.? +", "", heading) for heading in headings] == [title for _, _, title, *_ in rows]
    assert [file[:4] for _, file, *_ in rows] == [number for number, *_ in rows]


def test_a_row_has_a_date_and_a_status(rows):
    assert all(date.fromisoformat(day) and status.strip() for *_, day, status in rows)
