"""What counts as growth in a soak."""

import pytest
from tests.soak.levels import grew

LEVEL = [70, 84, 88, 90, 91, 90, 91, 90, 91]


@pytest.mark.parametrize(
    ("samples", "growth"),
    [
        (LEVEL, False),
        ([60, 70, 80, 90, 100, 110, 120, 130, 140], True),
        ([90, 91, 92, 92, 93, 93, 94, 94, 94], False),
        ([70, 200], False),
    ],
)
def test_growth_is_what_goes_on_after_the_working_level_is_reached(samples, growth):
    assert grew(samples, share=0.05, slack=4) is growth
