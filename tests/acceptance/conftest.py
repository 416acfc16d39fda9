"""Chance that is the same each time, unless SEED says otherwise: campaigns try others."""

import os
import random

import pytest

SEED = int(os.environ.get("SEED", "1"))


@pytest.fixture
def chance():
    print(f"seed {SEED}")
    return random.Random(SEED)
