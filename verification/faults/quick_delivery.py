"""The delivery process with short pauses between attempts. Nothing else of it is another."""

from domain.delivery import retry
from routines.cli import main

if __name__ == "__main__":
    retry.PAUSES_S = (0.1,) * len(retry.PAUSES_S)  # type: ignore[assignment]  # as many as before
    main(["delivery"])
