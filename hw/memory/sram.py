"""The memory of the cache: banks that are read as beats and written as words."""

from amaranth import *
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import ceil_log2, exact_log2


__all__ = ["Sram"]


class Sram(Component):
    """Banks of one word, as many as words make a beat; each has a port to read and one to write.

    A beat is read from all banks at once. A bank is a module of its own in Verilog, for a macro to
    replace (:mod:`hw.ram`).

    Latency
    -------
    One cycle from ``read_row`` to ``read_data``. What is written is read from the next cycle on.

    Throughput
    ----------
    One beat read and one word written each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    read_en, read_row : ``In``
        Number of a beat.
    read_data : ``Out(8 * config.beat_bytes)``
        It stays until the next one is read.
    write_address : ``In``
        Number of a word.
    write_data, write_strobe : ``In(config.word_bits)``, ``In(config.word_bytes)``
    """

    def __init__(self, config):
        self.config = config
        self.depth = config.cache // config.beat_bytes
        super().__init__({
            "read_en": In(1), "read_row": In(ceil_log2(self.depth)),
            "read_data": Out(8 * config.beat_bytes),
            "write_address": In(ceil_log2(self.depth * config.beat_words)),
            "write_data": In(config.word_bits), "write_strobe": In(config.word_bytes),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        inside = exact_log2(config.beat_words)
        words = []
        for n in range(config.beat_words):
            m.submodules[f"bank_{n}"] = bank = Memory(shape=config.word_bits, depth=self.depth,
                                                      init=[])
            write, read = bank.write_port(granularity=8), bank.read_port()
            chosen = self.write_address[:inside] == n if inside else Const(1)
            m.d.comb += [
                write.addr.eq(self.write_address[inside:]), write.data.eq(self.write_data),
                write.en.eq(Mux(chosen, self.write_strobe, 0)),
                read.addr.eq(self.read_row), read.en.eq(self.read_en),
            ]
            words.append(read.data)
        m.d.comb += self.read_data.eq(Cat(words))
        return m
