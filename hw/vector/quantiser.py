"""Quantiser: FP32 blocks to blocks of INT8 or FP8 with power-of-two scales."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.memory.staging import staging_write
from hw.signatures import act_write
from hw.verilog import shared

from .dealer import Dealer, quantised_block
from .exponents import Exponents
from .pieces import Part
from .rounder import Rounder
from .rounding import each, roundings


__all__ = ["Quantiser"]


class Quantiser(wiring.Component):
    """Reads blocks twice: for the scale of each group, then for the elements.

    The numerical reference is :func:`verif.reference.quantise`.

    The first reading is led by the unit, which tells where blocks begin and end; the second one
    follows by itself through the other port, as soon as a group's code is known.

    Latency
    -------
    From the last row of a group, read first, to the group's first half on its way: at most
    ``Exponents.latency + block_rows + Rounder.latency + 6`` cycles.

    Throughput
    ----------
    One row, and one half block, each cycle. ``act`` may stall; the first reading is then held
    through ``space``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start : ``In(1)``
        Begin a command, with its parameters: ``blocks``, ``group``; ``sign`` of
        :class:`hw.vector.rounder.Rounder`; those of
        :class:`hw.vector.exponents.Exponents`: ``element``, ``up``; and those of
        :class:`hw.vector.dealer.Dealer`: ``dst``, ``staged``, ``per_vector``, ``columns``.
    space : ``Out(1)``
        A block's first reading may begin.
    row_read, block_begin, block_end, command_end : ``In(1)``
        First reading: a row's address goes out; it is a block's first one; its last; the last of
        the command.
    a : ``In(config.row_bits)``
        The row, one cycle after ``row_read``.
    cut, a_part, b_part : ``In(1)``, ``In(Part)``, ``In(Part)``
        Blocks are cut out of pieces, constant until the command's end; with ``row_read``, and with
        ``read``: what is wanted of the row.
    read, released : ``Out(1)``
        Second reading: the next row's address goes out; it is the last one of a block.
    b : ``In(config.row_bits)``
        The row, one cycle after ``read``.
    act : ``Out(stream.Signature(act_write(config)))``
    staging : ``Out(staging_write(config))``
    written : ``Out(1)``
        The second half of a block was transferred.
    nan : ``Out(1)``
        A group has a NaN or an infinity among its elements.
    busy : ``Out(1)``
        Blocks are under way.
    """

    #: Groups whose codes, and blocks whose elements, may be under way.
    groups = 4
    depth  = 4

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1), "blocks": In(12), "group": In(4), "element": In(2), "up": In(1),
            "sign": In(2),
            "dst": In(12), "staged": In(1), "per_vector": In(10), "columns": In(7),
            "space": Out(1),
            "row_read": In(1), "block_begin": In(1), "block_end": In(1), "command_end": In(1),
            "a": In(config.row_bits), "cut": In(1), "a_part": In(Part), "b_part": In(Part),
            "read": Out(1), "released": Out(1), "b": In(config.row_bits),
            "act": Out(stream.Signature(act_write(config))),
            "staging": Out(staging_write(config)),
            "written": Out(1), "nan": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        # A row that is a block goes by as two halves, if these are cut out of pieces.
        whole = config.block_rows == 1
        last_row = self.cut & whole | config.block_rows - 1

        # First reading: the code of each group.
        m.submodules.exponents = exponents = Exponents(config)
        m.submodules.codes = codes = SyncFIFO(width=8, depth=self.groups)
        groups    = Signal(range(self.groups + 1))    # from the first row read to the last one
        in_group  = Signal(4)                         # blocks
        group_end = Signal()
        begins    = Signal()
        ends      = Signal()
        m.d.comb += [
            self.space.eq((in_group != 0) | (groups != self.groups)),
            begins.eq(self.block_begin & (in_group == 0)),
            group_end.eq(self.block_end & ((in_group + 1 == self.group) | self.command_end)),
            exponents.row.eq(self.a),
            exponents.element.eq(self.element), exponents.up.eq(self.up),
            self.nan.eq(exponents.done & (exponents.code == 255)),
            codes.w_en.eq(exponents.done), codes.w_data.eq(exponents.code),
        ]
        m.d.sync += [
            exponents.valid.eq(self.row_read), exponents.last.eq(group_end),
            *(exponents.zero[n].eq(self.a_part.zero | (self.cut & whole & (self.a_part.upper != n)))
              for n in range(len(exponents.zero))),
            groups.eq(groups + begins - ends),
        ]
        with m.If(self.block_end):
            m.d.sync += in_group.eq(Mux(group_end, 0, in_group + 1))

        # Second reading, when there is a code and a place for the result.
        left   = Signal(12)
        member = Signal(4)                            # block in the group
        row    = Signal(range(max(config.block_rows, 2)))
        places = Signal(range(self.depth + 1), init=self.depth)
        taken  = Signal()
        freed  = Signal()
        last   = Signal()
        m.d.comb += [
            self.read.eq(codes.r_rdy & ((places != 0) | (row != 0))),
            taken.eq(self.read & (row == 0)),
            self.released.eq(self.read & (row == last_row)),
            last.eq((member + 1 == self.group) | (left == 1)),
            ends.eq(self.released & last),
            codes.r_en.eq(ends),
        ]
        m.d.sync += places.eq(places - taken + freed)
        with m.If(self.read):
            m.d.sync += row.eq(Mux(self.released, 0, row + 1))
        with m.If(self.released):
            m.d.sync += [left.eq(left - 1), member.eq(Mux(last, 0, member + 1))]
        with m.If(self.start):
            m.d.sync += left.eq(self.blocks)

        # Elements, collected to blocks.
        choices  = roundings(config)
        elements = [shared(Rounder(choices)) for _ in range(config.lanes)]
        s0_least = Signal(signed(9))
        s0_none  = Signal()
        m.d.sync += s0_none.eq((codes.r_data == 255) | self.b_part.zero)
        for rounding in each(m, self.element, choices):
            m.d.sync += s0_least.eq(codes.r_data + rounding.least)
        # Behind a cut the lower lanes have what is wanted.
        upper = Signal()
        m.d.sync += upper.eq(self.b_part.upper)
        for n, element in enumerate(elements):
            m.submodules[f"element_{n}"] = element
            value = self.b.word_select(n, 32)
            if whole and n < 16:
                value = Mux(upper, self.b.word_select(n + 16, 32), value)
            m.d.comb += [element.i.eq(value), element.element.eq(self.element),
                         element.least.eq(s0_least), element.none.eq(s0_none),
                         element.sign.eq(self.sign)]
        valid, ended, code = self.read, self.released, codes.r_data
        for stage in range(elements[0].latency + 1):
            before = valid, ended, code
            valid, ended, code = (Signal(1, name=f"s{stage}_valid"),
                                  Signal(1, name=f"s{stage}_end"),
                                  Signal(8, name=f"s{stage}_block_code"))
            m.d.sync += [s.eq(b) for s, b in zip((valid, ended, code), before)]
        block = Signal(quantised_block)
        full  = Signal()
        m.d.sync += full.eq(ended)
        with m.If(valid):
            collected = Cat(block.data, *(element.o for element in elements))
            m.d.sync += [block.data.eq(collected[-256:]), block.code.eq(code)]
            if whole:
                with m.If(self.cut):
                    m.d.sync += block.data.eq(collected[128:384])

        # Blocks, dealt to where they belong.
        m.submodules.queue = queue = SyncFIFO(width=block.shape().size, depth=self.depth)
        m.submodules.dealer = dealer = Dealer(config)
        m.d.comb += [
            queue.w_en.eq(full), queue.w_data.eq(block),
            dealer.i.payload.eq(queue.r_data), dealer.i.valid.eq(queue.r_rdy),
            queue.r_en.eq(dealer.i.ready), freed.eq(dealer.i.valid & dealer.i.ready),
            dealer.start.eq(self.start), dealer.dst.eq(self.dst), dealer.staged.eq(self.staged),
            dealer.per_vector.eq(self.per_vector), dealer.columns.eq(self.columns),
            self.staging.eq(dealer.staging), self.written.eq(dealer.written),
            self.busy.eq((left != 0) | (places != self.depth) | dealer.busy),
        ]
        wiring.connect(m, dealer.act, wiring.flipped(self.act))
        return m
