"""
Time zones: by which data clocks change, and the names by which zones are known.

Two sets of data are at hand, the one that this release is pinned to (the package tzdata) and the system's. The newer one
is used, whole: one zone by newer rules and the next by older ones would be nobody's set of rules. A system's set counts
only if it says which version it is and has every zone that the pinned one has (docs/decisions/0033-zone-data.md).
"""

import zoneinfo
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from domain.errors import BadSchedule
from domain.events import ZoneDataAdopted
from domain.values import Value

INDEX = "tzdata.zi"  # the rules as text, beside their compiled form: names the version and every zone
VERSION_PREFIX = "# version "
INVALID = "Invalid timezone"
NO_PLACE = frozenset({"Factory"})  # a name in the data that is the zone of no place


class ZoneData(Value, frozen=True):
    """A set of zone data: its version, such as `2026f`, where it is from, and the names of its zones."""

    version: str
    source: Literal["pinned", "system"]
    directory: Path
    names: frozenset[str]


@cache
def data() -> ZoneData:
    """Return the zone data that this process goes by, from its first look at a zone to its end."""
    return newest_zone_data(_pinned_directory(), [Path(directory) for directory in zoneinfo.TZPATH])


def newest_zone_data(pinned_directory: Path, system_directories: Sequence[Path]) -> ZoneData:
    """Return the newer of the pinned zone data and the system's, which are the first that there are."""
    pinned_data = _read(pinned_directory, "pinned")
    if pinned_data is None:
        raise LookupError(f"The package tzdata is incomplete: {pinned_directory / INDEX} cannot be read")
    sets = (_read(directory, "system") for directory in system_directories)
    system = next((candidate for candidate in sets if candidate is not None), None)
    return (
        system
        if system is not None and system.version > pinned_data.version and _includes_all(system, pinned_data)
        else pinned_data
    )


@cache
def zone(name: str) -> ZoneInfo:
    """Return the time zone with this IANA name. Raise ZoneInfoNotFoundError if the zone data have none."""
    if name not in data().names:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {name}")
    with (data().directory / name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def spell_zone(name: str) -> str:
    """Return a zone's name as the zone data spell it, however it is written: `europe/berlin`. Raise BadSchedule."""
    spelling = _names_by_spelling().get(name.strip().lower())
    if spelling is None:
        raise BadSchedule(f"{INVALID}: {name}")
    return spelling


def clocks_change(name: str) -> bool:
    """Return whether the clocks of a zone may change; those of the zones that are an offset, such as UTC, never do."""
    return name not in ("UTC", "GMT") and not name.startswith("Etc/")


def evolve(_adopted: str | None, event: ZoneDataAdopted) -> str:
    """Fold an event into the version of the zone data that the installation has adopted."""
    return event.version


@cache
def _names_by_spelling() -> dict[str, str]:
    return {name.lower(): name for name in data().names}


def _pinned_directory() -> Path:
    return Path(str(files("tzdata").joinpath("zoneinfo")))


def _read(directory: Path, source: Literal["pinned", "system"]) -> ZoneData | None:
    """Return the zone data of a directory; None if it holds none, or none that say which version they are."""
    try:
        with (directory / INDEX).open(encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    if not lines or not lines[0].startswith(VERSION_PREFIX):
        return None
    version = lines[0].removeprefix(VERSION_PREFIX).strip()
    return ZoneData(
        version=version, source=source, directory=directory, names=frozenset(_parse_names(lines)) - NO_PLACE
    )


def _parse_names(lines: Sequence[str]) -> Iterator[str]:
    """Yield the names of an index: of its zones (`Z Europe/Paris ...`) and of its links (`L Europe/Paris France`)."""
    for line in lines:
        if line.startswith("Z "):
            yield line.split()[1]
        elif line.startswith("L "):
            yield line.split()[2]


def _includes_all(system: ZoneData, pinned_data: ZoneData) -> bool:
    """Return whether the system's set has all of the pinned one; some systems keep older names in another package."""
    return pinned_data.names <= system.names and all((system.directory / name).is_file() for name in pinned_data.names)
