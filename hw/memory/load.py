"""Reads a 32-bit value from memory."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..signatures import read_data, read_request
from .choose import choose


__all__ = ["Load"]


class Load(wiring.Component):
    """Reads the word of memory that holds a 32-bit value, and delivers the value.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    go : ``In(1)``
        High, with the address constant, until ``done``.
    address : ``In(config.address_bits)``
        Byte address, a multiple of 4.
    done : ``Out(1)``
        The value was taken.
    requests : ``Out(stream.Signature(read_request(config)))``
    data : ``In(stream.Signature(read_data(config)))``
    loaded : ``Out(stream.Signature(32))``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "go": In(1), "done": Out(1), "address": In(config.address_bits),
            "requests": Out(stream.Signature(read_request(config))),
            "data": In(stream.Signature(read_data(config))),
            "loaded": Out(stream.Signature(32)),
        })

    def elaborate(self, platform):
        m = Module()
        word = exact_log2(self.config.word_bytes)
        m.d.comb += [
            self.requests.p.address.eq(self.address[word:] << word),
            self.requests.p.words.eq(1),
        ]
        with m.FSM():
            with m.State("REQUEST"):
                m.d.comb += self.requests.valid.eq(self.go)
                with m.If(self.go & self.requests.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.data.ready.eq(1)
                with m.If(self.data.valid):
                    m.d.sync += self.loaded.payload.eq(
                        choose(m, self.data.p.data, self.address[2:word], 32, "value"))
                    m.next = "DELIVER"
            with m.State("DELIVER"):
                m.d.comb += self.loaded.valid.eq(1)
                with m.If(self.loaded.ready):
                    m.d.comb += self.done.eq(1)
                    m.next = "REQUEST"
        return m
