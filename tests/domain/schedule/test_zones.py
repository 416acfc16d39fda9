"""Which zone data are gone by."""

from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

import pytest

from domain.errors import BadSchedule
from domain.schedule import zones

PINNED = Path(str(files("tzdata").joinpath("zoneinfo")))


def directory(path, version, names=("Europe/Paris", "UTC")):
    """A directory of zone data as systems have it: an index, and a file for each zone."""
    path.mkdir()
    lines = [f"Z {name} 0 - UTC" for name in names]
    (path / "tzdata.zi").write_text("\n".join([f"# version {version}", *lines, ""]))
    for name in names:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes((PINNED / name).read_bytes())
    return path


@pytest.fixture
def pinned_zone_data(tmp_path):
    return directory(tmp_path / "pinned", "2026b")


@pytest.mark.parametrize(
    ("version", "source"), [("2025b", "pinned"), ("2026a", "pinned"), ("2026b", "pinned"), ("2026c", "system")]
)
def test_the_newer_zone_data_are_gone_by(pinned_zone_data, tmp_path, version, source):
    system = directory(tmp_path / "system", version)

    newest = zones.newest_zone_data(pinned_zone_data, [tmp_path / "absent", system])

    assert (source, max(version, "2026b")) == (newest.source, newest.version)


def test_a_system_without_some_of_the_zones_is_not_gone_by(pinned_zone_data, tmp_path):
    """Some systems keep the older names in a package of its own, which may be absent while the index still has them."""
    system = directory(tmp_path / "system", "2027a")
    (system / "Europe/Paris").unlink()
    fewer = directory(tmp_path / "fewer", "2027a", ["UTC"])

    assert {"pinned"} == {zones.newest_zone_data(pinned_zone_data, [one]).source for one in (system, fewer)}


def test_a_system_that_does_not_say_its_version_is_not_gone_by(pinned_zone_data, tmp_path):
    system = directory(tmp_path / "system", "2027a")
    (system / "tzdata.zi").write_text("Z UTC 0 - UTC\n")

    assert "pinned" == zones.newest_zone_data(pinned_zone_data, [system]).source


def test_the_pinned_zone_data_name_every_zone_of_the_package_but_the_one_of_no_place():
    names = set((PINNED.parent / "zones").read_text().split())

    assert names - {"Factory"} == zones.data().names
    assert f"# version {zones.data().version}" == (PINNED / "tzdata.zi").read_text().splitlines()[0]


@pytest.mark.parametrize("name", ["Atlantis/Capital", "../tzdata.zi", "Factory", "localtime", ""])
def test_an_unknown_zone_is_neither_opened_nor_spelled(name):
    with pytest.raises(ZoneInfoNotFoundError):
        zones.zone(name)
    with pytest.raises(BadSchedule, match="Invalid timezone"):
        zones.spell_zone(name)
