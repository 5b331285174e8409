"""cocotb tests of :class:`hw.protected.ProtectedMemory`."""

from types import SimpleNamespace

import cocotb
from cocotb.triggers import RisingEdge

from hw.hsiao import check_bits
from hw.protected import ProtectedMemory
from verif.bench import Bench, current
from verif.reference.ecc import decode, encode


CONFIGS = {
    "row":      dict(width=64, depth=16, ecc=True, inject=True),
    "quarters": dict(width=128, depth=8, granule=32, ecc=True, inject=True),
    "plain":    dict(width=64, depth=16, granule=16),
}


def component(config):
    return ProtectedMemory(**config)


part = SimpleNamespace(**dict(granule=64, ecc=False, inject=False) | current(CONFIGS))
part.code = part.granule + (check_bits(part.granule) if part.ecc else 0)
GRANULES = part.width // part.granule


class Words:
    """What a memory holds: code words of granules."""

    def __init__(self):
        self.codes = [[0] * GRANULES for _ in range(part.depth)]

    def write(self, address, enables, value, flips=0):
        for n in range(GRANULES):
            if enables >> n & 1:
                word = value >> n * part.granule & (1 << part.granule) - 1
                check = encode(word, part.granule) << part.granule if part.ecc else 0
                self.codes[address][n] = (word | check) ^ (flips >> n * part.code
                                                           & (1 << part.code) - 1)

    def read(self, address):
        """``(value, single, double)``."""
        value, wrong = 0, []
        for n, code in enumerate(self.codes[address]):
            word, number = decode(code, part.granule) if part.ecc else (code, 0)
            value |= word << n * part.granule
            wrong.append(number)
        return value, int(1 in wrong), int(2 in wrong)


async def write(dut, words, address, value, enables=(1 << GRANULES) - 1, flips=0):
    dut.write__en.value, dut.write__address.value = enables, address
    dut.write__data.value = value
    if part.inject:
        dut.flips.value = flips
    words.write(address, enables, value, flips)
    await RisingEdge(dut.clk)
    dut.write__en.value = 0


async def read(dut, words, address):
    """A read, compared with what is held; ``error`` comes a cycle after the data."""
    value, single, double = words.read(address)
    dut.read__en.value, dut.read__address.value = 1, address
    await RisingEdge(dut.clk)
    dut.read__en.value = 0
    await RisingEdge(dut.clk)
    if not double:
        assert int(dut.read__data.value) == value
    await RisingEdge(dut.clk)
    assert error(dut) == (int(single and not double), double, address if part.ecc else 0)


def error(dut):
    """Of what was read two cycles ago."""
    value = int(dut.error.value)
    return value & 1, value >> 1 & 1, value >> 2


def value_of(rng):
    return int.from_bytes(rng.bytes(part.width // 8), "little")


@cocotb.test()
async def a_wrong_bit_is_corrected_in_memory_too(dut):
    """Every bit of a word, one after the other: it is right at once, and wrong only once."""
    async with Bench(dut) as bench:
        words = Words()
        for bit in range(GRANULES * part.code if part.inject else 1):
            address = int(bench.rng.integers(part.depth))
            await write(dut, words, address, value_of(bench.rng),
                        flips=1 << bit if part.inject else 0)
            await read(dut, words, address)
            if part.ecc:
                assert words.read(address)[1]
                words.write(address, (1 << GRANULES) - 1, words.read(address)[0])
            await read(dut, words, address)


@cocotb.test()
async def two_wrong_bits_are_seen_and_stay(dut):
    """They are told each time, and nothing is changed; a word that is written is right again."""
    async with Bench(dut) as bench:
        words = Words()
        for _ in range(50 if part.inject else 0):
            address, granule = (int(bench.rng.integers(n)) for n in (part.depth, GRANULES))
            one, other = (int(n) for n in bench.rng.choice(part.code, 2, replace=False))
            await write(dut, words, address, value_of(bench.rng),
                        flips=(1 << one | 1 << other) << granule * part.code)
            assert words.read(address)[2]
            await read(dut, words, address)
            await read(dut, words, address)
            await write(dut, words, address, value_of(bench.rng))
            await read(dut, words, address)


@cocotb.test()
async def a_correction_never_overwrites(dut):
    """Writes around a read of a wrong word, in every cycle, are what memory holds afterwards."""
    async with Bench(dut) as bench:
        for delay in range(-1, 5):
            for busy in range(4):
                words, address = Words(), int(bench.rng.integers(part.depth))
                other = (address + 1) % part.depth
                await write(dut, words, other, 0)
                await write(dut, words, address, value_of(bench.rng),
                            flips=1 << int(bench.rng.integers(part.code)) if part.inject else 0)
                new = value_of(bench.rng)
                for cycle in range(-1, 6):
                    dut.read__en.value, dut.read__address.value = int(cycle == 0), address
                    # Other words are written, so that the correction waits.
                    target = address if cycle == delay else other
                    here = cycle == delay or cycle in range(1, 1 + busy)
                    dut.write__en.value = (1 << GRANULES) - 1 if here else 0
                    dut.write__address.value, dut.write__data.value = target, new
                    if part.inject:
                        dut.flips.value = 0
                    if here:
                        words.write(target, (1 << GRANULES) - 1, new)
                    await RisingEdge(dut.clk)
                dut.write__en.value = 0
                await RisingEdge(dut.clk)
                await read(dut, words, address)
                await read(dut, words, other)


@cocotb.test()
async def random_traffic(dut):
    """Reads and writes of parts, at once, with wrong bits now and then, and words that are
    cleared."""
    async with Bench(dut) as bench:
        words, rng = Words(), bench.rng
        for address in range(part.depth):
            dut.clear__en.value, dut.clear__address.value = 1, address
            words.codes[address] = [0] * GRANULES
            await RisingEdge(dut.clk)
        dut.clear__en.value = 0
        for _ in range(400):
            address, enables = (int(rng.integers(n)) for n in (part.depth, 1 << GRANULES))
            granule, bit = int(rng.integers(GRANULES)), int(rng.integers(part.code))
            flips = 1 << granule * part.code + bit if part.inject and rng.random() < 0.3 else 0
            await write(dut, words, address, value_of(rng), enables, flips)
            address = int(rng.integers(part.depth))
            value, single, double = words.read(address)
            await read(dut, words, address)
            if single and not double:
                words.write(address, (1 << GRANULES) - 1, value)
