"""Hypothesis strategies for JSON as it may arrive."""

from hypothesis import strategies as st

MAX_INTEGER = 2**53 - 1

strict_scalars = (
    st.none() | st.booleans() | st.integers(min_value=-MAX_INTEGER, max_value=MAX_INTEGER) | st.text()
)
strict_values = st.recursive(
    strict_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
strict_objects = st.dictionaries(st.text(), strict_values, max_size=4)

any_values = st.recursive(
    strict_scalars | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
