"""Names, templates and values, as hypothesis draws them."""

import math

from hypothesis import strategies as st

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,5}", fullmatch=True)
TEMPLATES = st.lists(
    st.text("{} a_\\1\n", max_size=8) | NAMES.map("{{{{{}}}}}".format) | NAMES.map("{{{{ {} }}}}".format), max_size=6
).map("".join)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEMPLATES | st.lists(st.integers(), max_size=2)
JSON_VALUES = VALUES.filter(lambda value: not isinstance(value, float) or math.isfinite(value))
