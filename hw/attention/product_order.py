"""Leads attention from part to part of its KV blocks."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw import isa
from hw.attention.geometry import select_job, softmax_job, turn_job
from hw.attention.products import (
    bounds_product,
    groups,
    is_select,
    key_product,
    value_product,
    value_shape,
)
from hw.signatures import Command, Part, Raise, array_command, command_fields, kv_part


__all__ = ["ProductOrder"]


class ProductOrder(wiring.Component):
    """Makes of each part of a KV block a product for the array, and jobs for those beside it.

    The walker decides the order of parts, with keys up to ``config.keys_ahead`` blocks before
    values; here products only follow it, so that beats and products never wait for each other. A
    value product is sent when all probabilities of its block are written.

    Probabilities of blocks use ``keys_ahead + 1`` places in turn. They need no interlock: block
    ``i + keys_ahead + 1`` has the place of block ``i``, its keys come behind the values of ``i``
    in the order of parts, and so its scores, and what the softmax writes after them, behind the
    last beat that reads the place. Writes travel along the columns as beats do.

    Latency
    -------
    2 cycles from a part to its product, if nothing is missing.

    Throughput
    ----------
    A product each 3 cycles.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    parts : ``In(stream.Signature(kv_part))``
        In the order of their beats. A part is taken with its product.
    keys : ``In(stream.Signature(Command))``
        Commands whose keys come, in order: the first, until its last keys.
    values : ``In(stream.Signature(isa.WORD_BITS))``
        ``attend`` whose values come, in order: the first, until its last values.
    array : ``Out(stream.Signature(array_command(config)))``
    blocks : ``Out(stream.Signature(softmax_job(config)))``
    turns : ``Out(stream.Signature(turn_job))``
        To the transposer, before each value product.
    bounds : ``Out(stream.Signature(select_job(config)))``, only if ``config.pages``
        To the selector, before each product of bounds; one if there are no pages.
    done : ``In(1)``
        The last probabilities of a block leave in this cycle.
    array_busy : ``In(1)``
    raise1 : ``Raise``
        Once for each command, when its queries are no longer needed.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "parts":      In(stream.Signature(kv_part)),
            "keys":       In(stream.Signature(Command)),
            "values":     In(stream.Signature(isa.WORD_BITS)),
            "array":      Out(stream.Signature(array_command(config))),
            "blocks":     Out(stream.Signature(softmax_job(config))),
            "turns":      Out(stream.Signature(turn_job)),
            **({"bounds": Out(stream.Signature(select_job(config)))} if config.pages else {}),
            "done":       In(1),
            "array_busy": In(1),
            "raise1":     Out(Raise),
        })

    def elaborate(self, platform):
        m = Module()
        config, part = self.config, self.parts.p
        attend = command_fields("attend", self.keys.p.word)     # whose keys come
        older  = command_fields("attend", self.values.p)        # whose values come

        # Blocks whose probabilities are there, and where they are.
        weighed, used = Signal(range(config.keys_ahead + 2)), Signal()
        m.d.sync += weighed.eq(weighed + self.done - used)
        is_values = Signal()
        m.d.comb += is_values.eq(part.kind == Part.VALUES)
        place = self.place(m, is_values, Mux(is_values, groups(config, older),
                                             groups(config, attend)))
        shape = value_shape(m, config, older)

        # Control: what a part needs, one after another.
        keys_sent, values_sent, bounds_sent, released = Signal(), Signal(), Signal(), Signal()
        m.d.comb += used.eq(values_sent)
        with m.FSM():
            with m.State("PART"):
                with m.If(self.parts.valid & is_values & (weighed != 0) & self.values.valid):
                    m.next = "TURN"
                # Keys that meet a select wait for the watchdog.
                with m.If(self.parts.valid & (part.kind == Part.KEYS) & self.keys.valid
                          & ~is_select(self.keys.p)):
                    m.next = "BLOCK"
                if config.pages:
                    announced = self.parts.valid & (part.kind == Part.BOUNDS)
                    # Without pages there is no part.
                    with m.If(self.keys.valid & is_select(self.keys.p)
                              & (announced | (self.keys.p.count == 0))):
                        m.next = "BOUNDS_JOB"
            with m.State("BLOCK"):
                m.d.comb += self.blocks.valid.eq(1)
                with m.If(self.blocks.ready):
                    m.next = "KEYS"
            with m.State("KEYS"):
                m.d.comb += [
                    self.array.payload.eq(key_product(config, attend)), self.array.valid.eq(1),
                    keys_sent.eq(self.array.ready),
                ]
                with m.If(keys_sent):
                    m.next = "PART"
            with m.State("TURN"):
                m.d.comb += self.turns.valid.eq(1)
                with m.If(self.turns.ready):
                    m.next = "VALUES"
            with m.State("VALUES"):
                m.d.comb += [
                    self.array.payload.eq(value_product(config, older, shape, place, part)),
                    self.array.valid.eq(1), values_sent.eq(self.array.ready),
                ]
                with m.If(values_sent):
                    m.next = "PART"
                    with m.If(part.last):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [
                    self.values.ready.eq(1),
                    self.raise1.en.eq(1), self.raise1.id.eq(older.raise1),
                ]
                m.next = "PART"
            if config.pages:
                self.selection(m, bounds_sent, released)
        m.d.comb += [
            self.parts.ready.eq(keys_sent | values_sent | bounds_sent),
            self.keys.ready.eq((keys_sent & part.last) | released),
        ]

        # Jobs.
        m.d.comb += [
            self.blocks.p.first.eq(part.first), self.blocks.p.last.eq(part.last),
            self.blocks.p.number.eq(part.number), self.blocks.p.count.eq(self.keys.p.count),
            *(self.blocks.p[name].eq(getattr(attend, name))
              for name in ("window", "sinks", "tokens", "columns")),
            self.blocks.p.groups.eq(groups(config, attend)),
            self.blocks.p.address.eq(attend.probability + place),
            self.turns.p.tiles.eq(shape.tiles), self.turns.p.tail.eq(shape.tail),
            self.turns.p.groups.eq(groups(config, older)),
        ]
        return m

    def place(self, m, is_values, groups):
        """Where the probabilities of the part's block are, counted from the first place.

        Valid one cycle after the part has come.
        """
        places = self.config.keys_ahead + 1
        of_keys, of_values = Signal(range(places)), Signal(range(places))
        number, following  = Signal(range(places)), Signal(range(places))
        place = Signal(range(15 * places))
        m.d.comb += [
            number.eq(Mux(is_values, of_values, of_keys)),
            following.eq(Mux(number == places - 1, 0, number + 1)),
        ]
        with m.If(self.parts.valid & self.parts.ready):
            with m.If(is_values):
                m.d.sync += of_values.eq(following)
            with m.Elif(self.parts.p.kind == Part.KEYS):
                m.d.sync += of_keys.eq(following)
        # Not worth a hard multiplier.
        m.d.sync += place.eq(sum(Mux(bit, groups << n, 0) for n, bit in enumerate(number)))
        return place

    def selection(self, m, bounds_sent, released):
        """States of a part of bounds."""
        select, job = command_fields("select", self.keys.p.word), self.bounds.p
        empty = Signal()
        m.d.comb += [
            empty.eq(self.keys.p.count == 0),
            job.first.eq(self.parts.p.first | empty), job.last.eq(self.parts.p.last | empty),
            job.number.eq(self.parts.p.number), job.pages.eq(self.keys.p.count),
            *(job[name].eq(getattr(select, name))
              for name in ("skip", "recent", "shift", "least", "columns")),
            job.groups.eq(groups(self.config, select)),
        ]
        with m.State("BOUNDS_JOB"):
            m.d.comb += self.bounds.valid.eq(1)
            with m.If(self.bounds.ready):
                m.next = "BOUNDS"
                with m.If(empty):
                    m.next = "RELEASE"
        with m.State("BOUNDS"):
            m.d.comb += [
                self.array.payload.eq(bounds_product(self.config, select)),
                self.array.valid.eq(1), bounds_sent.eq(self.array.ready),
            ]
            with m.If(bounds_sent):
                m.next = "PART"
                with m.If(self.parts.p.last):
                    m.next = "RELEASE"
        with m.State("RELEASE"):
            # The queries are needed until the array has seen them.
            with m.If(~self.array_busy):
                m.d.comb += [
                    released.eq(1),
                    self.raise1.en.eq(1), self.raise1.id.eq(select.raise1),
                ]
                m.next = "PART"
