"""Words to an SDRAM's data pins."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


__all__ = ["SdramWrites"]


class SdramWrites(wiring.Component):
    """Drives the beats of a word, the lowest first, and masks the bytes that are not written.

    Latency
    -------
    One cycle, as commands.

    Throughput
    ----------
    A word in ``beats`` cycles.

    Parameters
    ----------
    chip : :class:`.sdram_chip.SdramChip`
    beats : int
        Of a word.

    Members
    -------
    write : ``In(1)``
        A write is chosen; not again for ``beats`` cycles.
    data, strobe : ``In``
    dq, oe, dqm : ``Out``
        Pins.
    """

    def __init__(self, chip, beats):
        self.chip, self.beats = chip, beats
        super().__init__({
            "write": In(1), "data": In(chip.pins * beats), "strobe": In(chip.pins // 8 * beats),
            "dq": Out(chip.pins), "oe": Out(1), "dqm": Out(chip.pins // 8),
        })

    def elaborate(self, platform):
        m = Module()
        pins = self.chip.pins
        data, mask = Signal.like(self.data), Signal.like(self.strobe)
        # A bit for each beat that is still to come, so that the pins are registers.
        left = Signal(self.beats)
        m.d.sync += [data.eq(data >> pins), mask.eq(mask >> pins // 8), left.eq(left >> 1)]
        with m.If(self.write):
            m.d.sync += [data.eq(self.data), mask.eq(~self.strobe), left.eq(~0)]
        m.d.comb += [self.dq.eq(data), self.oe.eq(left[0]), self.dqm.eq(mask)]
        return m
