"""The machine's only way to memory: AXI4 masters that act as one wide memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..register_map import PAGE, Cause
from ..signatures import read_data, read_request, write_data
from .axi import axi4
from .channels import ReadChannels, WriteChannels


__all__ = ["MemoryPort", "port_fault"]


def port_fault(config):
    """The first access that went wrong, until the halt that follows it has ended."""
    return data.StructLayout({"valid": 1, "cause": 4, "address": config.address_bits})


class MemoryPort(wiring.Component):
    """Reads bursts and writes words on all channels at once.

    A burst becomes one AXI burst on every channel; each channel goes at its own pace, and words
    are put together in order. A written word becomes a single transfer on each channel of which
    it strobes a byte. Up to ``config.outstanding`` bursts and ``config.words_written`` words are in
    flight.

    Every access is held against the host's windows: one outside is not issued. After the first
    fault nothing more is issued, nor delivered.

    This component is not reset with the core, so that no AXI handshake is ever abandoned: raise
    ``halt``, wait for ``quiet``, reset the core, lower ``halt``.

    The reference is :func:`verif.reference.memory.channel_address`.

    Latency
    -------
    A request is on its channel one cycle after it was taken, and a word at ``data`` one cycle
    after the last channel delivered its part.

    Throughput
    ----------
    One word each cycle in both directions. Queues cut all paths between AXI and the streams;
    ``reads.ready`` and ``writes.ready`` depend on ``halt``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    axi : ``Out(axi4(config)).array(config.channels)``
    reads : ``In(stream.Signature(read_request(config)))``
        Bursts. Whoever asks has room for the words.
    data : ``Out(stream.Signature(read_data(config)))``
        Their words, in order.
    writes : ``In(stream.Signature(write_data(config)))``
    written : ``Out(1)``
        The oldest word in flight was acknowledged by all its channels.
    read_base, read_limit, write_base, write_limit : ``In(32)``
        Windows, in pages of 4 KiB: the first inside, the first after.
    halt : ``In(1)``
        Take no more requests, and discard what comes.
    quiet : ``Out(1)``
        Nothing is in flight.
    fault : ``Out(port_fault(config))``
        ``cause`` is one of :class:`hw.register_map.Cause`. Latch it before raising ``halt``: it is
        cleared when ``quiet`` is reached.
    moved : ``Out(1)``
        In the last cycle some handshake of AXI took place.
    waiting : ``Out(1)``
        For counters: bursts are in flight and no word came.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "axi": Out(axi4(config)).array(config.channels),
            "reads": In(stream.Signature(read_request(config))),
            "data": Out(stream.Signature(read_data(config))),
            "writes": In(stream.Signature(write_data(config))),
            "written": Out(1),
            "read_base": In(32), "read_limit": In(32),
            "write_base": In(32), "write_limit": In(32),
            "halt": In(1), "quiet": Out(1),
            "fault": Out(port_fault(config)),
            "moved": Out(1), "waiting": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = ReadChannels(self.config)
        m.submodules.writer = writer = WriteChannels(self.config)
        stopped = Signal()
        m.d.comb += stopped.eq(self.halt | self.fault.valid)

        # Requests: those outside of the windows are swallowed.
        r_inside, w_inside, r_last = Signal(), Signal(), Signal(self.config.address_bits)
        word = exact_log2(self.config.word_bytes)
        span = word + exact_log2(self.config.burst)
        request, write = self.reads.p, self.writes.p
        m.d.comb += [
            # A burst stays inside an aligned burst: its last word differs in few bits.
            r_last.eq(Cat(Const(0, word), (request.address[word:span] + request.words - 1)
                          [:span - word], request.address[span:])),
            r_inside.eq(self._inside(self.read_base, self.read_limit, request.address, r_last)),
            w_inside.eq(self._inside(self.write_base, self.write_limit,
                                     write.address, write.address)),
            reader.bursts.payload.eq(request), writer.words.payload.eq(write),
            reader.bursts.valid.eq(self.reads.valid & r_inside & ~stopped),
            writer.words.valid.eq(self.writes.valid & w_inside & ~stopped),
            self.reads.ready.eq(reader.bursts.ready & ~stopped),
            self.writes.ready.eq(writer.words.ready & ~stopped),
        ]

        # Answers.
        m.d.comb += [
            self.data.payload.eq(reader.data.p.data),
            self.data.valid.eq(reader.data.valid & ~stopped),
            reader.data.ready.eq(self.data.ready | stopped),
            writer.done.ready.eq(1),
            self.written.eq(writer.done.valid & ~stopped),
            self.quiet.eq(reader.quiet & writer.quiet),
            self.waiting.eq(~reader.quiet & ~reader.data.valid),
        ]

        # Faults: the first one counts.
        with m.If(~stopped):
            for event, cause, address in (
                    (self.reads.valid & reader.bursts.ready & ~r_inside,
                     Cause.READ_WINDOW, request.address),
                    (self.writes.valid & writer.words.ready & ~w_inside,
                     Cause.WRITE_WINDOW, write.address),
                    (reader.data.valid & reader.data.ready & reader.data.p.error,
                     Cause.READ_BUS, reader.data.p.address),
                    (writer.done.valid & writer.done.p.error,
                     Cause.WRITE_BUS, writer.done.p.address)):
                with m.If(event):
                    m.d.sync += [self.fault.valid.eq(1), self.fault.cause.eq(cause),
                                 self.fault.address.eq(address)]
        with m.If(self.halt & self.quiet):
            m.d.sync += self.fault.valid.eq(0)

        m.d.sync += self.moved.eq(Cat(getattr(axi, f"{c}valid") & getattr(axi, f"{c}ready")
                                      for axi in self.axi for c in ("ar", "aw", "w", "r", "b"))
                                  .any())
        for n in range(self.config.channels):
            axi = self.axi[n]
            for name in axi.signature.members:
                source = reader if name[0] == "r" or name[:2] == "ar" else writer
                ours, theirs = getattr(axi, name), getattr(source.axi[n], name)
                outward = axi.signature.members[name].flow is Out
                m.d.comb += ours.eq(theirs) if outward else theirs.eq(ours)
        return m

    @staticmethod
    def _inside(base, limit, first, last):
        page = exact_log2(PAGE)
        return (first[page:] >= base) & (last[page:] < limit)
