import pytest
from bench.samples import median, quantile, spread


def test_the_median_of_an_even_number_of_samples_lies_between_the_middle_ones():
    assert median([4.0, 1.0, 2.0, 10.0]) == 3.0


def test_the_median_is_not_moved_by_one_sample_that_is_far_off():
    assert median([1.0, 1.1, 0.9, 50.0, 1.0]) == 1.0


@pytest.mark.parametrize(("fraction", "value"), [(0.0, 0.0), (0.5, 50.0), (0.95, 95.0), (1.0, 100.0)])
def test_a_quantile_is_where_that_part_of_the_samples_lies_below(fraction, value):
    assert quantile([float(number) for number in range(101)], fraction) == pytest.approx(value)


def test_a_quantile_between_two_samples_is_interpolated():
    assert quantile([1.0, 2.0], 0.95) == pytest.approx(1.95)


def test_no_samples_have_no_median():
    with pytest.raises(ValueError, match="no samples"):
        median([])


def test_the_spread_is_relative_to_the_median():
    assert spread([0.9, 1.0, 1.1]) == pytest.approx(0.2)
    assert spread([0.0, 0.0]) == 0.0
