"""Front of the matrix unit: products as they come, and attention as many products."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw import isa
from hw.attention.geometry import BLOCK, by_head_blocks, value_tail
from hw.attention.router import Router
from hw.attention.softmax import Softmax
from hw.attention.transposer import Transposer
from hw.signatures import (
    Command,
    Drain,
    Raise,
    Source,
    Take,
    act_write,
    array_command,
    beat,
    command_fields,
    scores,
)


__all__ = ["AttentionEngine"]


#: First accumulator row of attention's output.
OUTPUT_ROW = 16


class AttentionEngine(wiring.Component):
    """Takes the commands of the matrix unit; makes of ``attend`` two products for each KV block.

    The numerical reference, with the array, is :func:`verif.reference.attention.attention`. ::

        commands -> front -> array              scores -> softmax -> act, sums
                                                             ^
        d -> router -> keys                                  |
                  |--> codes of values ----------------------'
                  '--> transposer -> values

    A block is: the key product, whose scores go to the softmax; then, when all probabilities are
    written, the value product, which adds to the accumulators from row 16 on. The key product of
    the next block follows it at once: it uses other accumulators, and its scores come after the
    probabilities have been used. A head without tokens takes its counters and ends; it delivers
    nothing.

    Latency
    -------
    0 for ``matmul``.

    Throughput
    ----------
    A KV block takes the beats of both products, the way of the last scores through drain and
    softmax (:func:`hw.attention.softmax.softmax_latency`, and 32 / softmax_lanes cycles for each
    column), and the latency of the array. ``commands.ready`` depends combinationally on
    ``array.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
        ``matmul`` and ``attend``. An ``attend`` is taken when its last product is on its way.
    array : ``Out(stream.Signature(array_command(config)))``
    d : ``In(stream.Signature(8 * config.beat_bytes))``
        The KV blocks of each ``attend``.
    keys : ``Out(stream.Signature(8 * config.beat_bytes))``
        To the array's unpacker.
    values : ``Out(stream.Signature(beat(config)))``
    scores : ``In(stream.Signature(scores(config)))``
    act : ``Out(stream.Signature(act_write(config)))``
    sums : ``Out(stream.Signature(32))``
        ``l`` of each column, for each ``attend``.
    take0 : ``Take``
        Query blocks of ``attend``.
    raise1 : ``Raise``
        Once for each ``attend``, when queries are no longer needed.
    array_busy : ``In(1)``
    busy : ``Out(1)``
        A command is under way, here or in the array.
    """

    def __init__(self, config):
        self.config = config
        raw = stream.Signature(8 * config.beat_bytes)
        super().__init__({
            "commands":   In(stream.Signature(Command)),
            "array":      Out(stream.Signature(array_command(config))),
            "d":          In(raw),
            "keys":       Out(raw),
            "values":     Out(stream.Signature(beat(config))),
            "scores":     In(stream.Signature(scores(config))),
            "act":        Out(stream.Signature(act_write(config))),
            "sums":       Out(stream.Signature(32)),
            "take0":      Out(Take),
            "raise1":     Out(Raise),
            "array_busy": In(1),
            "busy":       Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.router     = router     = Router(self.config)
        m.submodules.transposer = transposer = Transposer(self.config)
        m.submodules.softmax    = softmax    = Softmax(self.config)

        # Control: from block to block.
        attend  = command_fields("attend", self.commands.p.word)
        is_head = Signal()
        takes   = Signal(11)
        left    = Signal(32)
        first   = Signal()
        last    = Signal()
        product = Signal(array_command(self.config))
        plain_product = self.plain_product()
        key_product   = self.key_product(attend)
        value_product = self.value_product(m, attend, first, last)
        m.d.comb += [
            is_head.eq(self.commands.p.word[:isa.OPCODE_BITS] == isa.BY_NAME["attend"].opcode),
            last.eq(left <= BLOCK),
            self.array.payload.eq(product),
            self.take0.id.eq(attend.take0),
            self.raise1.id.eq(attend.raise1),
            self.busy.eq(self.commands.valid | self.array_busy),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    product.eq(plain_product),
                    self.array.valid.eq(self.commands.valid & ~is_head),
                    self.commands.ready.eq(self.array.ready & ~is_head),
                ]
                m.d.sync += [takes.eq(attend.columns * attend.head_blocks),
                             left.eq(self.commands.p.count), first.eq(1)]
                with m.If(self.commands.valid & is_head):
                    m.next = "ROUTE"
            with m.State("ROUTE"):
                m.d.comb += router.jobs.valid.eq(left != 0)
                with m.If(router.jobs.ready | (left == 0)):
                    m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.take0.take.eq(self.take0.ok)
                with m.If(self.take0.ok):
                    m.d.sync += takes.eq(takes - 1)
                    with m.If(takes == 1):
                        m.next = "KEYS"
                        with m.If(left == 0):
                            m.next = "END"
            with m.State("KEYS"):
                m.d.comb += [product.eq(key_product), self.array.valid.eq(1)]
                with m.If(self.array.ready):
                    m.next = "SCORES"
            with m.State("SCORES"):
                m.d.comb += softmax.jobs.valid.eq(1)
                with m.If(softmax.jobs.ready):
                    m.next = "WEIGH"
            with m.State("WEIGH"):
                with m.If(softmax.done):
                    m.next = "VALUES"
            with m.State("VALUES"):
                m.d.comb += [product.eq(value_product), self.array.valid.eq(1)]
                with m.If(self.array.ready):
                    m.d.sync += [left.eq(left - BLOCK), first.eq(0)]
                    m.next = "KEYS"
                    with m.If(last):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.raise1.en.eq(1), self.commands.ready.eq(1)]
                m.next = "IDLE"

        # What the parts are told.
        m.d.comb += [
            router.jobs.p.head_blocks.eq(attend.head_blocks),
            router.jobs.p.blocks.eq((left + BLOCK - 1) >> 5),
            softmax.jobs.p.first.eq(first), softmax.jobs.p.last.eq(last),
            softmax.jobs.p.tokens.eq(Mux(last, left[:6], BLOCK)),
            softmax.jobs.p.columns.eq(attend.columns),
            softmax.jobs.p.address.eq(attend.probability),
        ]

        # The streams.
        wiring.connect(m, wiring.flipped(self.d), router.d)
        wiring.connect(m, router.keys, wiring.flipped(self.keys))
        wiring.connect(m, router.codes, softmax.v_scales)
        wiring.connect(m, router.values, transposer.i)
        wiring.connect(m, transposer.o, wiring.flipped(self.values))
        wiring.connect(m, wiring.flipped(self.scores), softmax.scores)
        wiring.connect(m, softmax.act, wiring.flipped(self.act))
        wiring.connect(m, softmax.sums, wiring.flipped(self.sums))
        return m

    def product(self, **fields):
        """An array command; fields that are not named are 0."""
        layout = array_command(self.config)
        values = {name: Value.cast(value) for name, value in fields.items()}
        return Cat(resized(values.pop(name, Const(0)), Shape.cast(field.shape).width)
                   for name, field in layout)

    def plain_product(self):
        """``matmul`` as it is."""
        fields = vars(command_fields("matmul", self.commands.p.word))
        same = ("act", "halves", "tiles", "height", "tail", "columns", "groups", "dst", "stride",
                "take0", "take1", "raise0", "raise1")
        return self.product(source=Source.WEIGHTS,
                            four=fields["format"] == isa.FORMATS.index("int4"),
                            drain=Mux(fields["drain"] == isa.DRAINS.index("add"),
                                      Drain.ADD, Drain.STORE),
                            **{name: fields[name] for name in same})

    def key_product(self, attend):
        """Scores of 32 keys."""
        config = self.config
        return self.product(source=Source.KEYS, act=attend.act, halves=attend.head_blocks << 1,
                            tiles=config.key_tiles, height=config.key_height,
                            tail=config.key_height, columns=attend.columns, groups=1,
                            drain=Drain.SCORES)

    def value_product(self, m, attend, first, last):
        """32 values, weighted; after the last of them the output leaves."""
        config = self.config
        tiles = by_head_blocks(m, config, attend.head_blocks, config.value_groups, "tiles")
        tail  = by_head_blocks(m, config, attend.head_blocks,
                               lambda blocks: value_tail(config, blocks), "tail")
        return self.product(source=Source.VALUES, act=attend.probability, halves=2,
                            tiles=tiles, height=Mux(tiles == 1, tail, 16), tail=tail,
                            columns=attend.columns, groups=1, acc=OUTPUT_ROW, acc_step=1,
                            onto=~first, drain=Mux(last, Drain.STORE, Drain.KEEP),
                            dst=attend.dst, stride=attend.head_blocks,
                            take1=attend.take1, raise0=attend.raise0)


def resized(value, width):
    """``value`` cut or extended with zeros to ``width`` bits."""
    return Cat(value, Const(0, width))[:width]
