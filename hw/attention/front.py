"""Takes the commands of the matrix unit, and leads attention from block to block."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw import isa
from hw.attention.geometry import BLOCK, by_head_blocks, router_job, softmax_job, value_tail
from hw.attention.products import key_product, plain_product, value_product
from hw.signatures import Command, Raise, Take, array_command, command_fields


__all__ = ["Front"]


class Front(wiring.Component):
    """Makes products for the array and jobs for router and softmax.

    The products of a head are those of the keys (K) and of the values (V) of its blocks, in the
    order K0 K1 V0 K2 V1 ... V: while the softmax works on a block, the array makes the scores of
    the next. That needs room for a whole block of values beside the keys' way, which the transposer
    has for two tiles; with more, the order is K0 V0 K1 V1 ...

    A value product is sent when all probabilities of its block are written. Those of the next block
    are held back until its last beat is gone.

    Latency
    -------
    0 for ``matmul``.

    Throughput
    ----------
    One ``matmul`` a cycle. ``commands.ready`` depends combinationally on ``array.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
    array : ``Out(stream.Signature(array_command(config)))``
    heads : ``Out(stream.Signature(router_job))``
    blocks : ``Out(stream.Signature(softmax_job(config)))``
    weighed : ``In(1)``
        The last probabilities of a block leave in this cycle.
    value_beat : ``In(1)``
        A beat of a value product leaves in this cycle.
    hold : ``Out(1)``
        Probabilities must not be written.
    take0 : ``Take``
    raise1 : ``Raise``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "commands":   In(stream.Signature(Command)),
            "array":      Out(stream.Signature(array_command(config))),
            "heads":      Out(stream.Signature(router_job)),
            "blocks":     Out(stream.Signature(softmax_job(config))),
            "weighed":    In(1),
            "value_beat": In(1),
            "hold":       Out(1),
            "take0":      Out(Take),
            "raise1":     Out(Raise),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        word   = self.commands.p.word
        attend = command_fields("attend", word)
        count  = self.commands.p.count

        # Control: products. Blocks are counted down; `ahead` blocks have keys but no values yet.
        is_head   = Signal()
        takes     = Signal(11)
        keys      = Signal(28)
        values    = Signal(28)
        ahead     = Signal(2)
        first     = Signal()
        waiting   = Signal()
        more_keys = Signal()
        begin     = Signal()
        deepest   = by_head_blocks(m, config, attend.head_blocks,
                                   lambda blocks: 2 if config.value_groups(blocks) <= 2 else 1,
                                   "deepest")
        products = {
            "IDLE":   plain_product(config, word),
            "KEYS":   key_product(config, attend),
            "VALUES": value_product(m, config, attend, first, values == 1),
        }
        m.d.comb += [
            is_head.eq(word[:isa.OPCODE_BITS] == isa.BY_NAME["attend"].opcode),
            more_keys.eq((keys != 0) & (ahead != deepest)),
            self.take0.id.eq(attend.take0),
            self.raise1.id.eq(attend.raise1),
            self.heads.p.head_blocks.eq(attend.head_blocks),
            self.heads.p.blocks.eq(keys),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.array.payload.eq(products["IDLE"]),
                    self.array.valid.eq(self.commands.valid & ~is_head),
                    self.commands.ready.eq(self.array.ready & ~is_head),
                ]
                blocks = (count >> 5) + count[:5].any()
                m.d.sync += [takes.eq(attend.columns * attend.head_blocks), first.eq(1),
                             keys.eq(blocks), values.eq(blocks), ahead.eq(0)]
                with m.If(self.commands.valid & is_head):
                    m.next = "ROUTE"
            with m.State("ROUTE"):
                m.d.comb += self.heads.valid.eq(keys != 0)
                with m.If(self.heads.ready | (keys == 0)):
                    m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.take0.take.eq(self.take0.ok)
                with m.If(self.take0.ok):
                    m.d.sync += takes.eq(takes - 1)
                    with m.If(takes == 1):
                        m.d.comb += begin.eq(keys != 0)
                        m.next = "KEYS"
                        with m.If(keys == 0):
                            m.next = "END"
            with m.State("KEYS"):
                m.d.comb += [self.array.payload.eq(products["KEYS"]), self.array.valid.eq(1)]
                with m.If(self.array.ready):
                    m.d.sync += [keys.eq(keys - 1), ahead.eq(ahead + 1)]
                    m.next = "WEIGH"
            with m.State("WEIGH"):
                with m.If(more_keys):
                    m.next = "KEYS"
                with m.Elif(waiting):
                    m.next = "VALUES"
            with m.State("VALUES"):
                m.d.comb += [self.array.payload.eq(products["VALUES"]), self.array.valid.eq(1)]
                with m.If(self.array.ready):
                    m.d.sync += [values.eq(values - 1), ahead.eq(ahead - 1), first.eq(0),
                                 waiting.eq(0)]
                    m.next = "WEIGH"
                    with m.If(values == 1):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.raise1.en.eq(1), self.commands.ready.eq(1)]
                m.next = "IDLE"
        with m.If(self.weighed):
            m.d.sync += waiting.eq(1)

        self.softmax_jobs(m, attend, begin)
        self.interlock(m, attend)
        return m

    def softmax_jobs(self, m, attend, begin):
        """A job for each block, as fast as the softmax takes them."""
        tokens = Signal(32)
        first  = Signal()
        last   = Signal()
        m.d.comb += [
            last.eq(tokens <= BLOCK),
            self.blocks.valid.eq(tokens != 0),
            self.blocks.p.first.eq(first), self.blocks.p.last.eq(last),
            self.blocks.p.tokens.eq(Mux(last, tokens[:6], BLOCK)),
            self.blocks.p.columns.eq(attend.columns),
            self.blocks.p.address.eq(attend.probability),
        ]
        with m.If(begin):
            m.d.sync += [tokens.eq(self.commands.p.count), first.eq(1)]
        with m.Elif(self.blocks.valid & self.blocks.ready):
            m.d.sync += [tokens.eq(Mux(last, 0, tokens - BLOCK)), first.eq(0)]

    def interlock(self, m, attend):
        """Hold probabilities from the last of a block to the last beat of its value product."""
        beats   = by_head_blocks(m, self.config, attend.head_blocks, self.value_beats, "beats")
        left    = Signal.like(beats)
        passing = Signal(2)
        m.d.comb += self.hold.eq((left != 0) | passing.any())
        # The beat is in the array's front one cycle later.
        m.d.sync += passing.eq(Cat(self.value_beat, passing))
        with m.If(self.weighed):
            m.d.sync += left.eq(beats)
        with m.Elif(self.value_beat):
            m.d.sync += left.eq(left - 1)

    def value_beats(self, head_blocks):
        """Beats of a value product."""
        full = 16 * (self.config.value_groups(head_blocks) - 1)
        return 2 * (full + value_tail(self.config, head_blocks))
