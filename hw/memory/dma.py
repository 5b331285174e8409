"""Everything in the core that sees memory addresses, joined."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..signatures import (
    Command,
    Raise,
    Take,
    choice,
    kv_part,
    range_command,
    read_data,
    read_request,
    row_read,
    row_write,
    write_data,
)
from .arbiter import ReadArbiter
from .cache import Cache, cache_errors, cache_events
from .mover import Mover
from .reader import Reader
from .staging import staging_read, staging_write
from .walker import Walker


__all__ = ["dma_events", "Dma"]


#: What the performance counters count.
dma_events = data.StructLayout({
    # A word was read from memory; those of block tables count as D's.
    "w": 1, "d": 1, "gather": 1,
    "written": 1,                       # a word was acknowledged
    "cache": cache_events,
})


class Dma(wiring.Component):
    """Walker, the two readers, cache, mover and arbiter, between the units and the memory port.

    Throughput
    ----------
    One word read and one written each cycle, as long as both FIFOs have room. Between walks
    memory does not rest if they are dispatched in time.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    fetch, mover : ``In(stream.Signature(Command))``
        Commands. Between the sequencer and ``fetch`` must be no queue, see :class:`.Walker`.
    flush_w, flush_d : ``In(1)``
        Forget a stream: its commands, what it holds and what is in flight.
    w, d : ``Out(stream.Signature(8 * config.beat_bytes))``
        The streams.
    parts : ``Out(stream.Signature(kv_part))``
        What walks read into D, in its order; each must be taken before the last of its beats.
    choices : ``In(stream.Signature(choice))``
        Pages for walks, from the selector.
    table, entries : ``In(32)``, ``In(20)``
        The block table, see :class:`.Walker`.
    table_fault : ``Out(1)``
        A block of a walk was beyond the table.
    write, read, staging, staged, loaded : as of :class:`.Mover`
    append_fault, choice_fault : ``Out(1)``
        ``table_fault`` and ``choice_fault`` of the mover.
    ranges, range_fault : ``In(stream.Signature(range_command(config)))``, ``Out(1)``
        Ranges of the cache; never ready if there is none.
    walk_take : ``Out(Take)``
        Of ``walk``.
    take0, raise0, raise1 : ``Out(Take)``, ``Out(Raise)``
        Of the mover.
    reads, data, writes, written : as of :class:`.MemoryPort`, from the other side
    mover_busy, fetch_busy : ``Out(1)``
    events : ``Out(dma_events)``
    cache_errors : as ``errors`` of :class:`.Cache`, with ``config.ecc`` and a cache
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "fetch": In(stream.Signature(Command)), "mover": In(stream.Signature(Command)),
            "flush_w": In(1), "flush_d": In(1),
            "w": Out(stream.Signature(8 * config.beat_bytes)),
            "d": Out(stream.Signature(8 * config.beat_bytes)),
            "parts": Out(stream.Signature(kv_part)),
            "choices": In(stream.Signature(choice)),
            "table": In(32), "entries": In(20), "table_fault": Out(1),
            "write": Out(stream.Signature(row_write(config))),
            "read": Out(row_read(config)),
            "staging": In(staging_write(config)),
            "loaded": Out(stream.Signature(32)),
            "append_fault": Out(1), "choice_fault": Out(1),
            "ranges": In(stream.Signature(range_command(config))), "range_fault": Out(1),
            "walk_take": Out(Take),
            "take0": Out(Take), "raise0": Out(Raise), "raise1": Out(Raise),
            "reads": Out(stream.Signature(read_request(config))),
            "data": In(stream.Signature(read_data(config))),
            "writes": Out(stream.Signature(write_data(config))),
            "written": In(1),
            "mover_busy": Out(1), "fetch_busy": Out(1),
            "events": Out(dma_events),
            **({"staged": In(staging_read(config))} if config.forward else {}),
            **({"cache_errors": cache_errors(config)} if config.ecc and config.cache else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.walker = walker = Walker(config)
        cached = bool(config.cache)
        m.submodules.w_reader = w_reader = Reader(config, config.w_fifo, cached=cached)
        m.submodules.d_reader = d_reader = Reader(config, config.d_fifo, cached=cached)
        m.submodules.mover = mover = Mover(config)
        m.submodules.arbiter = arbiter = ReadArbiter(config)

        # Streams.
        connect(m, flipped(self.fetch), walker.commands)
        connect(m, walker.w, w_reader.descriptors)
        connect(m, walker.d, d_reader.descriptors)
        connect(m, w_reader.beats, flipped(self.w))
        connect(m, d_reader.beats, flipped(self.d))
        connect(m, walker.parts, flipped(self.parts))
        connect(m, flipped(self.choices), walker.choices)
        connect(m, walker.take0, flipped(self.walk_take))
        m.d.comb += [
            walker.table.eq(self.table), walker.entries.eq(self.entries),
            self.table_fault.eq(walker.table_fault),
            walker.flush_w.eq(self.flush_w), w_reader.flush.eq(self.flush_w),
            walker.flush_d.eq(self.flush_d), d_reader.flush.eq(self.flush_d),
            self.fetch_busy.eq(walker.busy | w_reader.busy | d_reader.busy),
        ]

        # Mover.
        connect(m, flipped(self.mover), mover.commands)
        connect(m, mover.write, flipped(self.write))
        connect(m, mover.read, flipped(self.read))
        connect(m, mover.loaded, flipped(self.loaded))
        connect(m, mover.choices, walker.pages)
        for name in ("take0", "raise0", "raise1"):
            connect(m, getattr(mover, name), flipped(getattr(self, name)))
        m.d.comb += [mover.staging.eq(self.staging), mover.written.eq(self.written),
                     mover.table.eq(self.table), mover.entries.eq(self.entries),
                     self.append_fault.eq(mover.table_fault),
                     self.choice_fault.eq(mover.choice_fault),
                     self.mover_busy.eq(mover.busy)]

        if config.forward:
            connect(m, flipped(self.staged), mover.staged)

        # Memory.
        ports = [("table", walker.requests, walker.data), ("gather", mover.reads, mover.data)]
        if cached:
            m.submodules.cache = cache = Cache(config)
            for name, reader in (("d", d_reader), ("w", w_reader)):
                connect(m, reader.requests, getattr(cache, name))
                connect(m, getattr(cache, f"{name}_data"), reader.data)
            ports += [(name, getattr(cache, f"{name}_reads"), getattr(cache, f"{name}_words"))
                      for name in ("d", "w", "fill")]
            connect(m, mover.writes, cache.writes)
            connect(m, cache.port_writes, flipped(self.writes))
            connect(m, flipped(self.ranges), cache.ranges)
            m.d.comb += [cache.written.eq(self.written), self.range_fault.eq(cache.fault),
                         self.events.cache.eq(cache.events)]
            if config.ecc:
                for outer, inner in zip(self.cache_errors, cache.errors, strict=True):
                    m.d.comb += outer.eq(inner)
        else:
            ports += [("d", d_reader.requests, d_reader.data),
                      ("w", w_reader.requests, w_reader.data)]
            connect(m, mover.writes, flipped(self.writes))
        for name, reads, words in ports:
            connect(m, reads, getattr(arbiter, name))
            connect(m, getattr(arbiter, f"{name}_data"), words)
        connect(m, arbiter.reads, flipped(self.reads))
        connect(m, flipped(self.data), arbiter.data)
        m.d.comb += [self.events.w.eq(w_reader.taken),
                     self.events.d.eq(d_reader.taken | walker.table_taken),
                     self.events.gather.eq(mover.taken), self.events.written.eq(self.written)]
        return m
