"""The two halves of the memory port: AXI channels that are read, and written, together."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..signatures import read_request, write_data
from .axi import OKAY, axi4
from .queue import Queue


__all__ = ["ReadChannels", "WriteChannels"]


def channels_of(config, prefixes):
    """The members of :func:`axi4` that begin with one of ``prefixes``."""
    full = axi4(config)
    return wiring.Signature({name: member for name, member in full.members.items()
                             if name.startswith(prefixes)})


class ReadChannels(wiring.Component):
    """The reading half of the port.

    Members
    -------
    axi : ``Out(..).array(config.channels)``
        Channels AR and R.
    bursts : ``In(stream.Signature(read_request(config)))``
    data : ``Out(stream.Signature({..}))``
        Word, whether a channel reported an error with it, and its burst's address.
    quiet : ``Out(1)``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "axi": Out(channels_of(config, ("ar", "r"))).array(config.channels),
            "bursts": In(stream.Signature(read_request(config))),
            "data": Out(stream.Signature(data.StructLayout({
                "data": config.word_bits, "error": 1, "address": config.address_bits}))),
            "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        channels = range(config.channels)
        shift = exact_log2(config.channels)

        # Bursts in flight.
        m.submodules.order = order = Queue(config.address_bits, config.outstanding)
        issues = [Queue(read_request(config), 2) for _ in channels]
        # Channels may drift apart by two bursts before the fast one is held back.
        answers = [Queue(data.StructLayout({"data": config.data_bits, "error": 1, "last": 1}),
                         2 if config.channels == 1 else 2 * config.burst) for _ in channels]
        for n in channels:
            m.submodules[f"issue_{n}"] = issues[n]
            m.submodules[f"answer_{n}"] = answers[n]

        accept, ready = Signal(), Signal()
        m.d.comb += [
            ready.eq(order.i.ready & Cat(q.i.ready for q in issues).all()),
            self.bursts.ready.eq(ready),
            accept.eq(self.bursts.valid & ready),
            order.i.valid.eq(accept), order.i.payload.eq(self.bursts.p.address),
            self.quiet.eq(~order.o.valid),
        ]
        for axi, issue, answer in zip(self.axi, issues, answers):
            m.d.comb += [
                issue.i.valid.eq(accept), issue.i.payload.eq(self.bursts.payload),
                axi.arvalid.eq(issue.o.valid), issue.o.ready.eq(axi.arready),
                axi.araddr.eq(issue.o.p.address >> shift), axi.arlen.eq(issue.o.p.words - 1),
                axi.arsize.eq(exact_log2(config.data_bits // 8)),
                answer.i.valid.eq(axi.rvalid), axi.rready.eq(answer.i.ready),
                answer.i.p.data.eq(axi.rdata), answer.i.p.last.eq(axi.rlast),
                answer.i.p.error.eq(axi.rresp != OKAY),
            ]

        # Words: taken from all channels together.
        taken = Signal()
        m.d.comb += [
            self.data.valid.eq(Cat(q.o.valid for q in answers).all()),
            self.data.p.data.eq(Cat(q.o.p.data for q in answers)),
            self.data.p.error.eq(Cat(q.o.p.error for q in answers).any()),
            self.data.p.address.eq(order.o.payload),
            taken.eq(self.data.valid & self.data.ready),
            *(q.o.ready.eq(taken) for q in answers),
            order.o.ready.eq(taken & answers[0].o.p.last),
        ]
        return m


class WriteChannels(wiring.Component):
    """The writing half of the port.

    Members
    -------
    axi : ``Out(..).array(config.channels)``
        Channels AW, W and B.
    words : ``In(stream.Signature(write_data(config)))``
    done : ``Out(stream.Signature({..}))``
        The oldest word was acknowledged: whether with an error, and its address.
    quiet : ``Out(1)``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "axi": Out(channels_of(config, ("aw", "w", "b"))).array(config.channels),
            "words": In(stream.Signature(write_data(config))),
            "done": Out(stream.Signature(data.StructLayout({
                "error": 1, "address": config.address_bits}))),
            "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        channels = range(config.channels)
        shift, strobes = exact_log2(config.channels), config.data_bits // 8

        # Words in flight, each with the channels that it went to.
        m.submodules.order = order = Queue(data.StructLayout({
            "address": config.address_bits, "used": config.channels}), config.words_written)
        addresses = [Queue(config.address_bits, 2) for _ in channels]
        words = [Queue(data.StructLayout({"data": config.data_bits, "strobe": strobes}), 2)
                 for _ in channels]
        answers = [Queue(1, config.words_written) for _ in channels]
        for n in channels:
            m.submodules[f"address_{n}"] = addresses[n]
            m.submodules[f"word_{n}"] = words[n]
            m.submodules[f"answer_{n}"] = answers[n]

        accept, ready, used = Signal(), Signal(), Signal(config.channels)
        m.d.comb += [
            ready.eq(order.i.ready & Cat(q.i.ready for q in addresses + words).all()),
            self.words.ready.eq(ready),
            accept.eq(self.words.valid & ready),
            used.eq(Cat(self.words.p.strobe.word_select(n, strobes).any() for n in channels)),
            order.i.valid.eq(accept),
            order.i.p.address.eq(self.words.p.address), order.i.p.used.eq(used),
            self.quiet.eq(~order.o.valid),
        ]
        for n, axi in enumerate(self.axi):
            address, word, answer = addresses[n], words[n], answers[n]
            m.d.comb += [
                address.i.valid.eq(accept & used[n]), word.i.valid.eq(accept & used[n]),
                address.i.payload.eq(self.words.p.address >> shift),
                word.i.p.data.eq(self.words.p.data.word_select(n, config.data_bits)),
                word.i.p.strobe.eq(self.words.p.strobe.word_select(n, strobes)),
                axi.awvalid.eq(address.o.valid), address.o.ready.eq(axi.awready),
                axi.awaddr.eq(address.o.payload), axi.awsize.eq(exact_log2(strobes)),
                axi.wvalid.eq(word.o.valid), word.o.ready.eq(axi.wready),
                axi.wdata.eq(word.o.p.data), axi.wstrb.eq(word.o.p.strobe), axi.wlast.eq(1),
                # There is always room: no more words are in flight than answers fit.
                answer.i.valid.eq(axi.bvalid), axi.bready.eq(answer.i.ready),
                answer.i.payload.eq(axi.bresp != OKAY),
                answer.o.ready.eq(self.done.valid & self.done.ready & order.o.p.used[n]),
            ]

        errors = Cat(q.o.payload & order.o.p.used[n] for n, q in enumerate(answers))
        m.d.comb += [
            self.done.valid.eq(order.o.valid
                               & (Cat(q.o.valid for q in answers) | ~order.o.p.used).all()),
            self.done.p.error.eq(errors.any()),
            self.done.p.address.eq(order.o.p.address),
            order.o.ready.eq(self.done.valid & self.done.ready),
        ]
        return m
