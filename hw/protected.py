"""Memory that corrects itself, if the configuration asks for it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import ceil_log2

from .ecc import Decoder, encode
from .hsiao import check_bits


__all__ = ["ProtectedMemory", "clear", "memory_error"]


def memory_error(depth):
    """A word with wrong bits was read: one, which is being corrected, or two."""
    return data.StructLayout({"single": 1, "double": 1, "address": ceil_log2(depth)})


def clear(bits):
    """A word becomes zero, with its check bits."""
    return Signature({"en": Out(1), "address": Out(bits)})


class ProtectedMemory(wiring.Component):
    """One write port, and one read port with old data on collisions; with ``ecc`` every granule has
    check bits (:mod:`hw.hsiao`).

    A wrong bit that is read is corrected on its way out, and then in the memory, in the first cycle
    in which nothing is written; not if the word was written meanwhile. Of a word with two wrong
    bits nothing is changed.

    Without check bits it is a memory, and ``error`` is never raised.

    The reference is :func:`verif.reference.ecc.decode`.

    Latency
    -------
    ``data`` comes a cycle after ``en``, ``error`` another one later. What is written can be read
    from the next cycle on.

    Throughput
    ----------
    One read and one write each cycle. A word whose correction waits has to be corrected again if it
    is read again.

    Parameters
    ----------
    width, depth : int
        Bits of a word, and words.
    granule : int
        Bits that can be written alone; divides ``width``.
    ecc : bool
    inject : bool
        Has ``flips``, for tests.

    Members
    -------
    write : ``In``
        ``en``, a bit a granule, ``address`` and ``data``.
    read : ``In``
        ``en``, ``address`` and ``data``, which stays until the next ``en``.
    clear : ``In``
        ``en``, ``address``: the word becomes zero, with its check bits. Not while others write.
    flips : ``In``
        Bits of the code word that are wrong in what ``write`` writes.
    error : ``Out(memory_error(depth))``
    """

    def __init__(self, width, depth, *, granule=None, ecc=False, inject=False):
        self.width, self.depth = width, depth
        self.granule = granule or width
        self.ecc, self.inject = ecc, inject
        self.parameters = (width, depth, self.granule, ecc, inject)
        assert width % self.granule == 0, (width, granule)
        #: Bits of a granule in memory.
        self.code = self.granule + (check_bits(self.granule) if ecc else 0)
        address, code_bits = ceil_log2(depth), width // self.granule * self.code
        super().__init__({
            "write": In(Signature({"en": Out(width // self.granule), "address": Out(address),
                                   "data": Out(width)})),
            "read": In(Signature({"en": Out(1), "address": Out(address), "data": In(width)})),
            "clear": In(clear(address)),
            "error": Out(memory_error(depth)),
            **({"flips": In(code_bits)} if inject else {}),
        })

    def elaborate(self, platform):
        m = Module()
        granules, code = self.width // self.granule, self.code
        m.submodules.memory = memory = Memory(shape=code * granules, depth=self.depth, init=[])
        writer = memory.write_port(granularity=code if granules > 1 else None)
        reader = memory.read_port()

        def protected(word):
            parts = [word.word_select(n, self.granule) for n in range(granules)]
            return Cat(Cat(part, encode(part)) if self.ecc else part for part in parts)

        # Where others write, and whether they do.
        written, target = Signal(), Signal.like(self.write.address)
        m.d.comb += [
            written.eq(self.write.en.any() | self.clear.en),
            target.eq(Mux(self.clear.en, self.clear.address, self.write.address)),
            writer.en.eq(Mux(self.clear.en, ~0, self.write.en)), writer.addr.eq(target),
            writer.data.eq(Mux(self.clear.en, 0, protected(self.write.data)
                               ^ (self.flips if self.inject else 0))),
            reader.en.eq(self.read.en), reader.addr.eq(self.read.address),
        ]
        if not self.ecc:
            m.d.comb += self.read.data.eq(reader.data)
            return m

        # Read: the word is corrected on its way out.
        word, single, double = Signal(self.width), Signal(granules), Signal(granules)
        for n in range(granules):
            m.submodules[f"decoder_{n}"] = decoder = Decoder(self.granule)
            m.d.comb += [
                decoder.i.eq(reader.data.word_select(n, code)),
                word.word_select(n, self.granule).eq(decoder.o),
                single[n].eq(decoder.single), double[n].eq(decoder.double),
            ]
        fresh, place = Signal(), Signal.like(self.read.address)
        m.d.comb += self.read.data.eq(word)
        m.d.sync += [
            fresh.eq(self.read.en), place.eq(self.read.address),
            self.error.double.eq(fresh & double.any()), self.error.address.eq(place),
        ]

        # Scrub: what was corrected is written, unless the word was written since it was read.
        changed, late, waiting, wrong = Signal(), Signal(), Signal(), Signal()
        fixed, where = Signal(self.width), Signal.like(place)
        m.d.comb += changed.eq(written & (target == Mux(waiting, where, place)))
        # What is read in the cycle of a write is old.
        m.d.comb += wrong.eq(fresh & single.any() & ~double.any() & ~late & ~waiting)
        m.d.sync += [late.eq(writer.en.any() & (writer.addr == self.read.address)),
                     self.error.single.eq(wrong)]
        with m.If(~waiting):
            m.d.sync += [fixed.eq(word), where.eq(place),
                         waiting.eq(wrong & ~changed)]
        with m.Elif(changed):
            m.d.sync += waiting.eq(0)
        with m.Elif(~written):
            m.d.comb += [writer.en.eq(~0), writer.addr.eq(where), writer.data.eq(protected(fixed))]
            m.d.sync += waiting.eq(0)
        return m
