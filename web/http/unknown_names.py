"""What is said of a name that an operation does not know, of a field or a parameter: which one was perhaps meant."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_SHOWN = 60
SHORTEST_PART = 3  # letters of a name by which the whole one is known, as `cron` is of `cronExpression`
ALIKE = 0.6  # how alike two names must be (0 to 1) for one to be suggested in place of the other; less is a guess


def describe_unknown(kind: str, name: str, known_names: Iterable[str]) -> tuple[str, str]:
    """Return a name as it is shown, cut if it is long, and the message that it is unknown, with the nearest known one if one is near."""
    short_name = shorten(name)
    folded = {fold_spelling(one): one for one in sorted(known_names)}
    spelling = fold_spelling(short_name)
    longer = [one for one in folded if spelling in one and len(spelling) >= SHORTEST_PART]
    nearest = sorted(longer, key=len) or get_close_matches(spelling, folded, n=1, cutoff=ALIKE)
    hint = f": did you mean '{folded[nearest[0]]}'?" if nearest else ""
    return short_name, f"Unknown {kind} '{short_name}'{hint}"


def shorten(name: str) -> str:
    """Return a name as it is shown, cut if it is long."""
    return name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}..."


def fold_spelling(name: str) -> str:
    """Return a name as all spellings of it are: `asOf`, `as_of` and `AS-OF` are one."""
    return name.lower().replace("_", "").replace("-", "")
