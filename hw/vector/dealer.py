"""Deals quantised blocks to activation columns, or to the staging memory."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.memory.staging import staging_write
from hw.signatures import act_write


__all__ = ["quantised_block", "Dealer"]


#: Codes of a block's elements, a byte each, and its E8M0 code.
quantised_block = data.StructLayout({"data": data.ArrayLayout(signed(8), 32), "code": 8})


class Dealer(wiring.Component):
    """Sends blocks half by half to where they belong.

    Vector ``m`` of a command goes to column ``m % columns``, blocks
    ``dst + m // columns * per_vector`` onwards; staged blocks go to ``dst`` onwards.

    Latency
    -------
    One cycle from a block to its first half.

    Throughput
    ----------
    Half a block each cycle. ``i.ready`` depends combinationally on ``act.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start, dst, staged, per_vector, columns : ``In``
        Begin a command with these parameters, which are constant until its end.
    i : ``In(stream.Signature(quantised_block))``
    act : ``Out(stream.Signature(act_write(config)))``
    staging : ``Out(staging_write(config))``
    written : ``Out(1)``
        The second half of a block is transferred.
    busy : ``Out(1)``
        A half waits for its transfer.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1), "dst": In(12), "staged": In(1), "per_vector": In(10),
            "columns": In(7),
            "i": In(stream.Signature(quantised_block)),
            "act": Out(stream.Signature(act_write(config))),
            "staging": Out(staging_write(config)),
            "written": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # Control: one register, from which both targets are written.
        half    = Signal()
        valid   = Signal()
        o_half  = Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(~valid | self.staged | self.act.ready),
            self.i.ready.eq(advance & half),
            self.act.valid.eq(valid & ~self.staged),
            self.staging.en.eq(valid & self.staged),
            self.written.eq(valid & advance & o_half),
            self.busy.eq(valid),
        ]
        with m.If(advance):
            m.d.sync += [valid.eq(self.i.valid), o_half.eq(half)]
            m.d.sync += half.eq(half ^ self.i.valid)

        # Where the block goes.
        first   = Signal(12)    # block of this group of vectors
        address = Signal(12)
        column  = Signal(7)
        block   = Signal(10)    # in the vector
        with m.If(self.start):
            m.d.sync += [first.eq(self.dst), address.eq(self.dst), column.eq(0), block.eq(0)]
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [address.eq(address + 1), block.eq(block + 1)]
            with m.If(~self.staged & (block + 1 == self.per_vector)):
                m.d.sync += [block.eq(0), column.eq(column + 1), address.eq(first)]
                with m.If(column + 1 == self.columns):
                    m.d.sync += [column.eq(0), first.eq(address + 1), address.eq(address + 1)]

        # The register.
        with m.If(advance):
            m.d.sync += [
                self.act.p.column.eq(column),
                self.act.p.address.eq(address << 1 | half),
                self.act.p.data.eq(self.i.p.data.as_value().word_select(half, 128)),
                self.act.p.code.eq(self.i.p.code),
            ]
        m.d.comb += [
            self.staging.address.eq(self.act.p.address[1:]),
            self.staging.half.eq(o_half),
            self.staging.data.eq(self.act.p.data),
            self.staging.code.eq(self.act.p.code),
        ]
        return m
