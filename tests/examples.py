"""How many examples a random test tries."""

import os

IS_CAMPAIGN = "SEED" in os.environ  # `make fuzz` sets it


def examples(suite: int, campaign: int) -> int:
    """As many as find what the test is there to find, always the same ones; in a campaign others, and more."""
    return campaign if IS_CAMPAIGN else suite
