"""The host link between a host's bytes, an AXI memory and the machine's registers."""

import struct

import cocotb
import numpy as np

from fpga.link.protocol import IRQ, MAGIC, Identity, Kind, Status
from hw import register_map as rm
from hw.config import Config
from verif.bench import Bench, current
from verif.link_machine import Host, LinkSystem
from verif.reference.link import parse, request
from verif.streams import never, sometimes


CONFIGS = {
    "narrow": dict(data_bits=32, slices=1, block=256, window=2),
    "wide":   dict(data_bits=128, slices=1, block=128, window=4),
}

SIMULATORS = {"narrow": ("verilator",), "wide": ("icarus",)}

BYTES = 1 << 12

#: Cycles after which a bus counts as silent; memory takes up to 30.
PATIENCE = 400


def parts(config):
    config = dict(config)
    identity = Identity(hash=0x12345678, block=config.pop("block"), window=config.pop("window"),
                        word=config["data_bits"] // 8, pages=1, clock_hz=50_000_000,
                        baud=1_000_000)
    return Config(name="test", **config), identity


def component(config):
    return LinkSystem(*parts(config), PATIENCE)


config, identity = parts(current(CONFIGS))
WORD, BLOCK = identity.word, identity.block


def surround(bench, **options):
    return Host(bench, config, BYTES, **options)


async def opened(bench, **options):
    host = surround(bench, **options)
    await host.send(b"\0")
    await host.open()
    return host


@cocotb.test()
async def it_says_who_it_is(dut):
    async with Bench(dut) as bench:
        host = surround(bench)
        payload = await host.open()
        assert payload == identity.pack() and payload[:4] == struct.pack("<I", MAGIC)
        assert Identity.unpack(payload) == identity


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1, 0.9)])
async def memory_is_written_and_read(dut, pause):
    async with Bench(dut) as bench:
        host = await opened(bench, pause=pause)
        wanted = host.image.copy()
        for n in range(25):
            count = BLOCK if n == 0 else WORD * int(bench.rng.integers(0, BLOCK // WORD + 1))
            address = WORD * int(bench.rng.integers(0, (BYTES - count) // WORD + 1))
            if bench.rng.integers(2):
                status, payload = await host.ask(Kind.READ_MEMORY, count, address)
                assert payload == wanted[address:address + count].tobytes()
            else:
                data = bench.rng.bytes(count)
                status, payload = await host.ask(Kind.WRITE_MEMORY, count, address, data)
                wanted[address:address + count] = np.frombuffer(data, np.uint8)
                assert payload == b""
            assert status == Status.OK
            assert (host.image == wanted).all()


@cocotb.test()
async def registers_are_written_and_read(dut):
    async with Bench(dut) as bench:
        host = await opened(bench)
        for name in ("seed_low", "seed_high"):
            assert await host.ask(Kind.WRITE_REGISTER, 4, rm.BY_NAME[name].offset,
                                  name[-4:].encode()) == (Status.OK, b"")
        assert await host.ask(Kind.READ_REGISTERS, 8, rm.BY_NAME["seed_low"].offset) \
            == (Status.OK, b"_lowhigh")
        assert await host.ask(Kind.READ_REGISTERS, 12, 0) \
            == (Status.OK, struct.pack("<III", rm.IDENTITY, rm.VERSION, config.hash))
        await bench.drive("emitted").send_all(range(100, 110))
        assert await host.ask(Kind.TAKE_REGISTER, 40, rm.BY_NAME["emitted"].offset) \
            == (Status.OK, struct.pack("<10I", *range(100, 110)))
        assert await host.ask(Kind.WRITE_REGISTER, 64, rm.BY_NAME["program_data"].offset,
                              bytes(64)) == (Status.OK, b"")
        assert await host.ask(Kind.READ_REGISTERS, 4, rm.BY_NAME["program_address"].offset) \
            == (Status.OK, struct.pack("<I", 16))


@cocotb.test()
async def a_request_that_is_repeated_is_carried_out_once(dut):
    """As often as it comes; the reply is the same, with its payload."""
    async with Bench(dut) as bench:
        host = await opened(bench)
        await bench.drive("emitted").send_all(range(100, 110))
        emitted = Kind.TAKE_REGISTER, 4, rm.BY_NAME["emitted"].offset
        for value in (100, 101):
            first = await host.ask(*emitted)
            assert first == (Status.OK, struct.pack("<I", value))
            for _ in range(3):
                assert await host.ask(*emitted, number=host.number) == first
            # Another one in between, which is refused, changes nothing.
            assert (await host.ask(*emitted, number=(host.number + 5) % 256))[0] \
                == Status.OUT_OF_ORDER
            assert await host.ask(*emitted, number=host.number) == first


@cocotb.test()
async def only_the_next_number_is_carried_out(dut):
    async with Bench(dut) as bench:
        host = surround(bench)
        before = host.image.copy()
        write = Kind.WRITE_MEMORY, BLOCK, 0, bytes(BLOCK)
        # Before the device was asked who it is, no number is.
        for number in (255, 0, 1):
            assert (await host.ask(*write, number=number))[0] == Status.OUT_OF_ORDER
        await host.open()
        for step in (2, 3, 100, 200, 254, 255):
            number = (host.number + step) % 256
            assert (await host.ask(*write, number=number))[0] == Status.OUT_OF_ORDER
            assert host.replies[-1][3] == (host.number + 1) % 256
        assert (host.image == before).all()
        assert (await host.ask(*write))[0] == Status.OK


def damages(rng, frame):
    """Frames that are not ``frame``, some of them without an end."""
    for _ in range(12):
        data, place = bytearray(frame), int(rng.integers(0, len(frame)))
        match int(rng.integers(0, 6)):
            case 0:
                data[place] ^= 1 << int(rng.integers(0, 8))
            case 1:
                del data[place]
            case 2:
                data.insert(place, int(rng.integers(0, 256)))
            case 3:
                data = data[:place]
            case 4:
                data[place:place + 8] = rng.bytes(8)
            case 5:
                data = bytearray(rng.bytes(int(rng.integers(1, 2 * BLOCK))))
        if parse(bytes(data).rstrip(b"\0")) is None or b"\0" in data[:-1]:
            yield bytes(data)


@cocotb.test()
async def what_is_damaged_does_nothing_and_holds_nothing_up(dut):
    async with Bench(dut) as bench:
        host = await opened(bench)
        wanted = host.image.copy()
        for n in range(12):
            data, address = bench.rng.bytes(8 * WORD), WORD * n
            number = (host.number + 1) % 256
            for wrong in damages(bench.rng, request(Kind.WRITE_MEMORY, number, len(data), address,
                                                    data)):
                await host.send(wrong + b"\0")
            await host.quiet(300)
            assert (host.image == wanted).all()
            # A frame longer than all that may come.
            await host.send(b"\1" * (BLOCK + 40) + b"\0")
            status, _ = await host.ask(Kind.WRITE_MEMORY, len(data), address, data)
            wanted[address:address + len(data)] = np.frombuffer(data, np.uint8)
            assert status == Status.OK and (host.image == wanted).all()


@cocotb.test()
async def nonsense_with_the_right_checksum_is_told_to_be_wrong(dut):
    async with Bench(dut) as bench:
        host = await opened(bench)
        before, status = host.image.copy(), rm.BY_NAME["status"].offset
        for kind, count, address, payload in (
                (7, 0, 0, b""), (8, 0, 0, b""), (0x80, 0, 0, b""), (255, 4, 0, bytes(4)),
                (Kind.IDENTIFY, 4, 0, b""), (Kind.IDENTIFY, 0, 0, b"1234"),
                (Kind.READ_MEMORY, BLOCK + WORD, 0, b""), (Kind.READ_MEMORY, WORD - 1, 0, b""),
                (Kind.READ_MEMORY, 0xFFFC, 0, b""), (Kind.READ_MEMORY, WORD, 2, b""),
                (Kind.READ_MEMORY, WORD, 0, bytes(WORD)), (Kind.WAIT, 4, 0, b""),
                (Kind.WRITE_MEMORY, 2 * WORD, 0, bytes(WORD)), (Kind.WRITE_MEMORY, WORD, 0, b""),
                (Kind.WRITE_MEMORY, WORD, 0, bytes(BLOCK)), (Kind.READ_REGISTERS, 4, 256, b""),
                (Kind.READ_REGISTERS, 4, 2, b""), (Kind.TAKE_REGISTER, 5, 0, b""),
                (Kind.TAKE_REGISTER, 4, 1 << 31, b""), (Kind.WRITE_REGISTER, 4, status, bytes(8))):
            assert await host.ask(kind, count, address, payload) == (Status.WRONG, b"")
        # What is longer than a frame may be vanishes.
        for more in (WORD, 4 + WORD, 2 * BLOCK):
            count = BLOCK + more
            await host.send(request(Kind.WRITE_MEMORY, (host.number + 1) % 256, count, 0,
                                    bytes(count)))
            await host.quiet()
        assert (host.image == before).all()
        assert (await host.ask(Kind.READ_MEMORY, 0, 0)) == (Status.OK, b"")


@cocotb.test()
async def errors_of_a_bus_end_a_request(dut):
    async with Bench(dut) as bench:
        host = await opened(bench, errors={3 * WORD})
        image = host.image.copy()
        assert await host.ask(Kind.READ_MEMORY, 8 * WORD, WORD) \
            == (Status.REFUSED, image[WORD:3 * WORD].tobytes())
        assert await host.ask(Kind.WRITE_MEMORY, 4 * WORD, WORD, bytes(4 * WORD)) \
            == (Status.REFUSED, b"")
        image[WORD:3 * WORD] = 0
        assert (host.image == image).all()
        assert await host.ask(Kind.WRITE_REGISTER, 4, rm.BY_NAME["status"].offset, bytes(4)) \
            == (Status.REFUSED, b"")
        assert await host.ask(Kind.READ_REGISTERS, 8, rm.BY_NAME["identity"].offset + 8) \
            == (Status.REFUSED, struct.pack("<I", config.hash))
        assert (await host.ask(Kind.READ_MEMORY, 4 * WORD, 4 * WORD))[0] == Status.OK


@cocotb.test()
@cocotb.parametrize(stuck=["ar", "aw", "w", "r", "b"])
async def a_memory_that_hangs_does_not_hang_the_link(dut, stuck):
    """One request takes its time, others are told at once, until memory goes on."""
    async with Bench(dut) as bench:
        host = await opened(bench)
        image, data = host.image.copy(), bench.rng.bytes(4 * WORD)
        if stuck in ("ar", "r"):
            access = Kind.READ_MEMORY, 4 * WORD, 0
        else:
            access = Kind.WRITE_MEMORY, 4 * WORD, 0, data
            # The word that was asked for is written when memory goes on.
            image[:WORD] = np.frombuffer(data, np.uint8)[:WORD]
        host.stuck = stuck
        # For the way of frames, with four words in some.
        frames = 100 + 2 * 4 * WORD
        begin = host.cycle
        assert await host.ask(*access) == (Status.SILENT, b"")
        assert PATIENCE < host.cycle - begin < PATIENCE + frames
        for other in (access, (Kind.READ_MEMORY, WORD, WORD), (Kind.WRITE_MEMORY, WORD, WORD,
                                                               bytes(WORD))):
            begin = host.cycle
            assert await host.ask(*other) == (Status.SILENT, b"")
            assert host.cycle - begin < min(frames, PATIENCE)
        assert await host.ask(Kind.READ_REGISTERS, 4, 0) \
            == (Status.OK, struct.pack("<I", rm.IDENTITY))
        host.stuck = ""
        await bench.cycles(100)
        assert await host.ask(Kind.READ_MEMORY, BLOCK, 0) == (Status.OK, image[:BLOCK].tobytes())
        assert await host.ask(Kind.WRITE_MEMORY, 4 * WORD, WORD, data) == (Status.OK, b"")
        image[WORD:5 * WORD] = np.frombuffer(data, np.uint8)
        assert (host.image == image).all()


@cocotb.test()
async def a_late_word_is_not_the_answer_to_another_request(dut):
    """Whenever it comes: before, while and after the other one asks for its own."""
    async with Bench(dut) as bench:
        host, statuses = await opened(bench), set()
        for delay in range(0, 60):
            host.stuck = "r"
            assert await host.ask(Kind.READ_MEMORY, WORD, 0) == (Status.SILENT, b"")
            other = cocotb.start_soon(host.ask(Kind.READ_MEMORY, WORD, WORD))
            await bench.cycles(delay)
            host.stuck = ""
            status, payload = await other
            assert (status, payload) in ((Status.SILENT, b""),
                                         (Status.OK, host.image[WORD:2 * WORD].tobytes()))
            statuses.add(status)
        assert len(statuses) == 2


@cocotb.test()
async def waiting_ends(dut):
    """With the interrupt, after its time, or with the next request."""
    async with Bench(dut) as bench:
        host = await opened(bench)
        await host.ask(Kind.WAIT, address=50)
        assert host.replies[-1][4] == 0
        host.number = number = (host.number + 1) % 256
        await host.send(request(Kind.WAIT, number, 0, 0xFFFFFFFF))
        await host.quiet(3000)
        dut.irq.value = 1
        assert (await host.reply(500))[4] == IRQ
        assert (await host.ask(Kind.WAIT, address=0xFFFFFFFF))[0] == Status.OK
        dut.irq.value = 0
        host.number = number = (number + 2) % 256
        await host.send(request(Kind.WAIT, number, 0, 0xFFFFFFFF))
        await host.quiet(1000)
        await host.send(request(Kind.READ_REGISTERS, (number + 1) % 256, 4, 0))
        assert (await host.reply())[:3] == (Kind.WAIT, number, Status.OK)
        kind, _, status, *_, payload = await host.reply()
        assert (kind, status, payload) == (Kind.READ_REGISTERS, Status.OK,
                                           struct.pack("<I", rm.IDENTITY))


@cocotb.test()
async def as_many_requests_may_wait_as_the_window_says(dut):
    """More vanish, and are asked for again; those that had room are carried out."""
    async with Bench(dut) as bench:
        host = surround(bench)
        await host.open()
        host.deaf = True
        first, window = host.number + 1, identity.window
        numbers = [(first + n) % 256 for n in range(window + 3)]
        data = [bench.rng.bytes(2 * BLOCK // 2) for _ in numbers]
        for n, number in enumerate(numbers):
            await host.send(request(Kind.WRITE_MEMORY, number, BLOCK, n * BLOCK, data[n]))
            if n < 2:       # the first reply fills the encoder, the second one waits
                await bench.cycles(3000)
        before = len(host.replies)
        host.deaf = False
        await bench.cycles(20000)
        told = host.replies[before:]
        assert [one[1] for one in told] == numbers[:len(told)]
        assert window <= len(told) < len(numbers)
        for n in range(len(told)):
            assert host.image[n * BLOCK:(n + 1) * BLOCK].tobytes() == data[n]
        assert host.image[len(told) * BLOCK:][:BLOCK].tobytes() != data[len(told)]
        host.number = numbers[len(told) - 1]
        assert (await host.ask(Kind.READ_MEMORY, WORD, 0))[0] == Status.OK


@cocotb.test()
async def a_request_of_which_the_beginning_found_no_room_vanishes(dut):
    """Also if there is room again when it ends."""
    async with Bench(dut) as bench:
        host = await opened(bench)
        host.deaf = True
        numbers = [(host.number + 1 + n) % 256 for n in range(identity.window + 3)]
        data = bench.rng.bytes(BLOCK)
        frames = [request(Kind.WRITE_MEMORY, number, BLOCK, 0, data) for number in numbers]
        # Two replies leave the device; then as many requests wait as there is room for.
        for n, frame in enumerate(frames[:-1]):
            await host.send(frame)
            if n < 2:
                await bench.cycles(3000)
        before = len(host.replies)
        half = len(frames[-1]) // 2
        await host.send(frames[-1][:half])
        host.deaf = False
        await bench.cycles(10000)
        answered = [one[1] for one in host.replies[before:]]
        await host.send(frames[-1][half:])
        await host.quiet()
        host.number = answered[-1]
        assert await host.ask(Kind.WRITE_MEMORY, BLOCK, 0, data[::-1]) == (Status.OK, b"")
        assert host.image[:BLOCK].tobytes() == data[::-1]
