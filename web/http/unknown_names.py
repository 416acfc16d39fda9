"""What is said of a name that an operation does not know, of a field or a parameter: which one was perhaps meant."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_SHOWN = 60
ALIKE = 0.4  # so that `role` finds `membershipRole`; the best match is named, not every one


def describe_unknown(kind: str, name: str, known: Iterable[str]) -> tuple[str, str]:
    """Return a name as it is shown, and the message that it is unknown, with the nearest known one if one is near."""
    shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}..."
    folded = {_fold(one): one for one in sorted(known)}
    nearest = get_close_matches(_fold(shown), folded, n=1, cutoff=ALIKE)
    hint = f": did you mean '{folded[nearest[0]]}'?" if nearest else ""
    return shown, f"Unknown {kind} '{shown}'{hint}"


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
