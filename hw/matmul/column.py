"""One column of the array: one vector of activations and the slices that it meets."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.formats import ACTIVATIONS
from hw.verilog import shared

from .accumulator import Accumulator
from .cell import Cell
from .delays import delayed, delays
from .layouts import act_shape, lane
from .timing import PAIRS, Timing


__all__ = ["Column"]


class Column(wiring.Component):
    """``slices`` cells and accumulators, and the activations that they share.

    Everything that comes from the column before goes to the next one a cycle later. Writes of
    activations travel at the same speed as beats, so that each beat meets what was written before
    it was issued.

    Latency
    -------
    One cycle from ``i`` to ``o``. A group of rows enters ``o.result`` two cycles after its
    ``i.drain``.

    Throughput
    ----------
    One beat, one write of activations and one group of ``drain_rows`` rows drained, each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i, o : ``In(lane)``, ``Out(lane)``
    """

    def __init__(self, config):
        self.config     = config
        self.parameters = (config,)
        super().__init__({"i": In(lane(config)), "o": Out(lane(config))})

    def elaborate(self, platform):
        m = Module()
        config, here, timing = self.config, self.o, Timing(self.config)
        # Controls wait in the registers towards the next column; memories have their own, and
        # take addresses from the column before.
        m.d.sync += [
            here.act.eq(self.i.act), here.read.eq(self.i.read), here.sum.eq(self.i.sum),
            here.value.eq(self.i.value), here.acc.eq(self.i.acc), here.write.eq(self.i.write),
            here.drain.eq(self.i.drain),
            here.act.write.column.eq(self.i.act.write.column - 1),
            here.drain.column.eq(self.i.drain.column - 1),
        ]

        # Activations, their codes, and the shifts that came with them.
        stored, codes, shifts = memories(m, config, self.i.act, self.i.read)
        act   = decoded(m, config, stored, here.read.activation)
        width = act_shape(config).size * config.depth
        pairs = Signal(len(act))
        m.d.comb += pairs.eq(Cat(delayed(m, act[n:n + width], n // width, f"act_{n}")
                                 for n in range(0, len(act), width)))
        # The high sum comes a cycle late: its code is that of the cycle before.
        code, code_before = delays(m, codes, timing.value + 1, "code")[-2:]
        shift, shift_before = delays(m, shifts, timing.value + 1, "shift")[-2:]
        shift = delayed(m, Mux(here.value.high, shift_before, shift), timing.old - timing.value,
                        "old_shift")
        use_old   = delayed(m, here.acc.old, timing.old - timing.acc, "use_old")
        use_shift = delayed(m, here.acc.shifted, timing.old - timing.acc, "use_shift")

        hit, hit_before = Signal(), Signal()
        m.d.comb += hit.eq(self.i.drain.en & (self.i.drain.column == 0))
        m.d.sync += hit_before.eq(hit)

        for s in range(config.slices):
            m.d.sync += here.data[s].eq(self.i.data[s])
            m.d.sync += here.scale[s].eq(self.i.scale[s])
            m.submodules[f"cell_{s}"] = cell = shared(Cell(config))
            m.submodules[f"accumulator_{s}"] = accumulator = shared(Accumulator(config))
            m.d.comb += [
                cell.weights.eq(here.data[s]), cell.act.eq(pairs), cell.sum.eq(here.sum),
                accumulator.low.eq(cell.low),
                accumulator.value.eq(here.value), accumulator.scale.eq(here.scale[s]),
                accumulator.code.eq(Mux(here.value.high, code_before, code)),
                accumulator.acc_row.eq(here.acc.row),
                accumulator.old.eq(use_old), accumulator.shift.eq(Mux(use_shift, shift, 0)),
                accumulator.write.eq(here.write),
                accumulator.drain.eq(hit), accumulator.place.eq(self.i.drain.place),
            ]
            m.d.comb += [getattr(accumulator, name).eq(getattr(cell, name))
                         for name in ("high", "first_low", "first_high") if hasattr(cell, name)]
            m.d.sync += [here.result[n].eq(Mux(hit_before, result, self.i.result[n]))
                         for n, result in zip(range(s, len(here.result), config.slices),
                                              accumulator.result)]
        return m


def decoded(m, config, act, activation):
    """16 of :func:`hw.matmul.layouts.act_shape` from the bytes of half a block."""
    shape = act_shape(config)
    if "shift" not in shape.members:
        return act
    pairs = []
    for n in range(PAIRS):
        byte, pair = act[8 * n:8 * n + 8], Signal(shape, name=f"act_{n}")
        with m.Switch(activation):
            for number, element in enumerate(ACTIVATIONS.values()):
                with m.Case(number):
                    if element.shifts:
                        value, shift = element.parts(m, byte, f"act_{n}_{element.name}")
                        m.d.comb += [pair.value.eq(value), pair.shift.eq(shift)]
                    else:
                        m.d.comb += pair.value.eq(byte.as_signed())
        pairs.append(pair)
    return Cat(pairs)


def memories(m, config, write, read):
    """Half a block of activations, its code and its shift, a cycle after ``read``."""
    m.submodules.act    = act    = Memory(shape=8 * PAIRS, depth=2 * config.act_blocks, init=[])
    m.submodules.codes  = codes  = Memory(shape=8, depth=config.act_blocks, init=[])
    m.submodules.shifts = shifts = Memory(shape=8, depth=config.act_blocks, init=[])
    mine, half = Signal(), write.write
    m.d.comb += mine.eq(write.en & (half.column == 0))
    results = []
    for memory, address, value, en in ((act, slice(None), half.data, mine),
                                       (codes, slice(1, None), half.code, mine),
                                       (shifts, slice(1, None), half.shift,
                                        mine & half.set_shift)):
        write_port, read_port = memory.write_port(), memory.read_port()
        m.d.comb += [
            write_port.addr.eq(half.address[address]), write_port.data.eq(value),
            write_port.en.eq(en),
            read_port.addr.eq(read.address[address]), read_port.en.eq(read.en),
        ]
        results.append(read_port.data)
    return results
