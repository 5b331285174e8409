"""The memory of the cache: banks that are read as beats and written as words."""

from amaranth import *
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import ceil_log2, exact_log2

from ..protected import ProtectedMemory, memory_error


__all__ = ["Sram"]


class Sram(Component):
    """Banks of one word, as many as words make a beat; each has a port to read and one to write.

    A beat is read from all banks at once. A bank's memory is a module of its own in Verilog, for a
    macro to replace (:mod:`hw.ram`). With ``config.ecc`` it corrects itself.

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
        Bytes that share check bits are written all or none.
    errors : ``Out(memory_error(words))``, array
        Of each bank.
    """

    def __init__(self, config):
        self.config = config
        self.depth = config.cache // config.beat_bytes
        super().__init__({
            "read_en": In(1), "read_row": In(ceil_log2(self.depth)),
            "read_data": Out(8 * config.beat_bytes),
            "write_address": In(ceil_log2(self.depth * config.beat_words)),
            "write_data": In(config.word_bits), "write_strobe": In(config.word_bytes),
            "errors": Out(memory_error(self.depth * config.beat_words)).array(config.beat_words),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        inside = exact_log2(config.beat_words)
        words = []
        for n in range(config.beat_words):
            m.submodules[f"bank_{n}"] = bank = ProtectedMemory(
                config.word_bits, self.depth, granule=8 * config.cache_granule, ecc=config.ecc)
            chosen = self.write_address[:inside] == n if inside else Const(1)
            m.d.comb += [
                bank.write.address.eq(self.write_address[inside:]),
                bank.write.data.eq(self.write_data),
                bank.write.en.eq(Mux(chosen, self.write_strobe[::config.cache_granule], 0)),
                bank.read.address.eq(self.read_row), bank.read.en.eq(self.read_en),
                self.errors[n].single.eq(bank.error.single),
                self.errors[n].double.eq(bank.error.double),
                self.errors[n].address.eq(Cat(Const(n, inside), bank.error.address)),
            ]
            words.append(bank.read.data)
        m.d.comb += self.read_data.eq(Cat(words))
        return m
