"""docs/events.md is what `make event-catalogue` writes, and knows every event."""

from development import event_catalogue
from domain.events import STORED_NAMES


def test_the_page_is_current():
    assert event_catalogue.PAGE.read_text() == event_catalogue.catalogue(), "run `make event-catalogue`"


def test_every_event_has_its_section_with_an_example_of_its_own():
    page = event_catalogue.PAGE.read_text()
    sections = {part.partition("`")[0]: part for part in page.split("\n### `")}

    assert set() == {name for name in STORED_NAMES if f"<code>{name}.json</code>" not in sections.get(name, "")}
