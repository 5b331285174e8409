"""Deals the D stream to those who take keys, codes of values, and values."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.geometry import BLOCK, by_head_blocks, router_job, value_row, value_tail


__all__ = ["Router"]


class Router(wiring.Component):
    """Deals the beats of KV blocks, in their order: keys, codes of values, rows of values.

    The order is that of :func:`verif.reference.kv.kv_read`.

    Latency
    -------
    0: beats of keys and values pass in the cycle in which they come. The codes of a block are
    valid in the cycle after their last beat.

    Throughput
    ----------
    One beat per cycle, and one cycle without a beat for each job. The router runs ahead of its
    takers as far as they let it: codes wait in a register until they are taken. ``d.ready`` depends
    combinationally on the ``ready`` of ``keys`` and ``values``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(router_job))``
        A head: the number of its KV blocks, at least 1, and of its blocks of 32 channels.
    d : ``In(stream.Signature(8 * config.beat_bytes))``
        Beats as memory holds them.
    keys : ``Out(stream.Signature(8 * config.beat_bytes))``
    codes : ``Out(stream.Signature(256))``
        E8M0 codes of the values of the 32 tokens of a block.
    values : ``Out(stream.Signature(value_row(config)))``
    """

    def __init__(self, config):
        self.config = config
        beat = stream.Signature(8 * config.beat_bytes)
        super().__init__({
            "jobs":   In(stream.Signature(router_job)),
            "d":      In(beat),
            "keys":   Out(beat),
            "codes":  Out(stream.Signature(8 * BLOCK)),
            "values": Out(stream.Signature(value_row(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        # Control: the phase, and the beats and blocks that are left.
        job       = Signal(router_job)
        key_beats = by_head_blocks(m, config, job.head_blocks, config.key_beats, "key_beats")
        groups    = by_head_blocks(m, config, job.head_blocks, config.value_groups, "groups")
        tail      = by_head_blocks(m, config, job.head_blocks,
                                   lambda blocks: value_tail(config, blocks), "tail")
        count     = Signal(range(max(config.key_beats(config.max_head_blocks), BLOCK)))
        group     = Signal.like(groups)
        moved     = Signal()
        coding    = Signal()
        m.d.comb += moved.eq(self.d.valid & self.d.ready)
        with m.If(moved):
            m.d.sync += count.eq(count + 1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.jobs.ready.eq(1)
                with m.If(self.jobs.valid):
                    m.d.sync += job.eq(self.jobs.p)
                    m.next = "KEYS"
            with m.State("KEYS"):
                m.d.comb += [self.keys.valid.eq(self.d.valid), self.d.ready.eq(self.keys.ready)]
                with m.If(moved & (count + 1 == key_beats)):
                    m.d.sync += count.eq(0)
                    m.next = "CODES"
            with m.State("CODES"):
                m.d.comb += [coding.eq(moved), self.d.ready.eq(~self.codes.valid)]
                with m.If(moved & (count + 1 == config.value_scale_beats)):
                    m.d.sync += [count.eq(0), group.eq(0)]
                    m.next = "VALUES"
            with m.State("VALUES"):
                m.d.comb += [self.values.valid.eq(self.d.valid), self.d.ready.eq(self.values.ready)]
                with m.If(moved & (count == BLOCK - 1)):
                    m.d.sync += [count.eq(0), group.eq(group + 1)]
                    with m.If(group + 1 == groups):
                        m.d.sync += job.blocks.eq(job.blocks - 1)
                        m.next = "KEYS"
                        with m.If(job.blocks == 1):
                            m.next = "IDLE"

        # Codes: the last beat completes the register.
        with m.If(coding):
            m.d.sync += self.codes.payload.eq(Cat(self.codes.payload, self.d.payload)[-8 * BLOCK:]
                                              if config.value_scale_beats > 1 else self.d.payload)
            m.d.sync += self.codes.valid.eq(count + 1 == config.value_scale_beats)
        with m.Elif(self.codes.ready):
            m.d.sync += self.codes.valid.eq(0)

        # Keys and values are what comes.
        m.d.comb += [
            self.keys.payload.eq(self.d.payload),
            Cat(self.values.p.data).eq(self.d.payload),
            self.values.p.height.eq(Mux(group + 1 == groups, tail, 16)),
        ]
        return m
