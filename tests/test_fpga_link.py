"""The host link apart from its hardware: bit times, frames, what the page shows of them."""

import pytest

from fpga.link.bit_timer import FRACTION, bit_period


@pytest.mark.parametrize("clock_hz", [12_000_000, 25_000_000, 48_000_000, 80_000_000])
@pytest.mark.parametrize("baud", [115_200, 921_600, 1_000_000, 3_000_000])
def test_bit_periods_are_exact_enough(clock_hz, baud):
    period = bit_period(clock_hz, baud)
    assert abs(period / FRACTION * baud / clock_hz - 1) < 0.0005


@pytest.mark.parametrize("clock_hz, baud, sentence", [
    (12_000_000, 4_000_000, "a clock of 12000000 Hz allows up to 3000000 baud, not 4000000"),
    (0, 9600, "clock_hz must be a positive integer, not 0"),
    (1000, 9.5, "baud must be a positive integer, not 9.5"),
])
def test_impossible_rates_are_refused(clock_hz, baud, sentence):
    with pytest.raises(ValueError, match=sentence):
        bit_period(clock_hz, baud)
