"""cocotb tests of :class:`hw.matmul.drain.DrainUnit`."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer

from hw.config import Config
from hw.matmul.drain import DrainUnit
from hw.matmul.layouts import BANKS, TILE_ROWS, drain_read, job
from hw.signatures import Drain, row_write, scores
from verif.bench import Bench, current
from verif.packing import unpack
from verif.reference.floats import add
from verif.streams import StreamMonitor, bursts, never, sometimes


SMALL = dict(data_bits=32, workspace=8192, w_fifo=2048, d_fifo=2048, burst=64)

#: Cycles from a read of a bank to its sums.
LATENCY = 5

CONFIGS = {
    "narrow_rows": SMALL | dict(slices=4, columns=3, lanes=2),
    "equal":       SMALL | dict(slices=4, columns=2, lanes=4),
    "wide_rows":   SMALL | dict(slices=2, columns=3, lanes=8),
    "half_rows":   SMALL | dict(slices=1, columns=2, lanes=32),
    "more_scores": SMALL | dict(slices=2, columns=8, lanes=2, kv_groups=3, pages=64),
    "wide_scores": SMALL | dict(slices=1, columns=24, lanes=4),
    "many_slices": SMALL | dict(slices=64, columns=1, lanes=32, data_bits=512, w_fifo=8192,
                                d_fifo=8192),
}

#: Icarus takes minutes for wide ports.
SIMULATORS = {"many_slices": ("verilator",)}

#: Jobs of a test.
NUMBER = 16 if getattr(cocotb, "SIM_NAME", "") == "Verilator" else 6


def component(config):
    return DrainUnit(Config(name="test", **config), LATENCY)


config = Config(name="test", **current(CONFIGS))

#: Elements of a block.
BLOCK = 32

#: Sums that are written at once: a row, or half of one if a tile has no more.
WRITTEN = min(config.lanes, TILE_ROWS * config.slices)


class Surroundings:
    """Banks, workspace and counters."""

    def __init__(self, dut, rng, pauses):
        self.dut, self.rng, self.pauses = dut, rng, pauses
        self.banks = np.zeros((BANKS, config.columns, TILE_ROWS, config.slices), np.uint32)
        self.rows = rng.normal(size=(config.rows, config.lanes)).astype(np.float32)
        self.tokens = self.taken = self.raised = self.drained = self.written = self.cycle = 0
        self.takes_before, self.raises = [], []

    async def run(self):
        dut, answer = self.dut, 0
        nothing = [0] * config.slices * config.drain_rows
        results = [nothing] * (LATENCY - 1)
        while True:
            dut.read__request__ready.value = not next(self.pauses)
            dut.read__data.value = answer
            await Timer(1, unit="ns")
            dut.take1__ok.value = int(dut.take1__id.value) == 0 or self.tokens > 0
            await RisingEdge(dut.clk)
            self.cycle += 1
            answer = int.from_bytes(self.rng.bytes(4 * config.lanes), "little")
            if bool(dut.read__request__valid.value) and bool(dut.read__request__ready.value):
                row = self.rows[int(dut.read__request__payload.value)]
                answer = int.from_bytes(row.tobytes(), "little")
            read = unpack(drain_read(config), int(dut.drain.value))
            bank, row = divmod(read["place"] * config.drain_rows, TILE_ROWS)
            if read["en"]:
                rows = self.banks[bank, read["column"], row:row + config.drain_rows]
                results.append(rows.ravel().tolist())
            else:
                results.append(nothing)
            for n, result in enumerate(results.pop(0)):
                getattr(dut, f"result__{n}").value = result
            self.drained += bool(dut.drained.value)
            if bool(dut.take1__take.value):
                assert self.tokens, "taken without a token"
                self.tokens -= 1
                self.taken += 1
            if bool(dut.raise0__en.value):
                assert int(dut.raise0__id.value) == 9
                assert self.written >= self.raises[self.raised], "raised before it is written"
                self.raised += 1

    def on_write(self, value):
        assert self.taken >= self.takes_before[self.written], "written before it is free"
        self.rows[value["address"]] = np.frombuffer(
            value["data"].to_bytes(4 * config.lanes, "little"), np.float32)
        self.written += 1


def shapes(rng, whole):
    """Rows a slice of a job, elements of the block before its first, and whether it is of a last
    tile, which may end anywhere; ``whole``: it has whole blocks, or half a one."""
    last, offset = int(rng.integers(2)), WRITTEN * int(rng.integers(BLOCK // WRITTEN))
    unit = WRITTEN
    if whole:
        offset, unit = 0, min(BLOCK, TILE_ROWS * config.slices)
    step = 1 if last and not whole else max(1, unit // config.slices)
    return step * int(rng.integers(1, TILE_ROWS // step + 1)), offset, last


def random_jobs(rng, number):
    """Jobs with the sums of their banks."""
    for _ in range(number):
        drain = (Drain.STORE, Drain.ADD, Drain.SCORES, Drain.SELECT)[
            rng.integers(4 if config.pages else 3)]
        height, offset, last = shapes(rng, drain in (Drain.SCORES, Drain.SELECT))
        columns = int(rng.integers(1, config.columns + 1))
        stride = -(-(height * config.slices + offset) // 32)
        fields = {"drain": drain, "height": height, "columns": columns, "offset": offset,
                  "dst": int(rng.integers(0, config.blocks - stride * columns)),
                  "stride": stride, "group": int(rng.integers(config.kv_groups)),
                  "take1": int(rng.integers(2)) * 8, "raise0": int(rng.integers(2)) * 9,
                  "raise": int(rng.integers(2))}
        # Blocks of a column are those of a head, if each column raises.
        each = int(rng.integers(2)) if stride <= config.max_head_blocks else 0
        yield ({"drain": fields, "each": each, "first": 1, "last": last},
               rng.normal(size=(columns, height, config.slices)).astype(np.float32))


def plan(around, model, number, each, sums, wanted_scores):
    """Change the model of the workspace as the job should; note events. Returns tokens needed."""
    fields, tokens = each["drain"], 0
    for column, part in enumerate(sums):
        if fields["drain"] in (Drain.SCORES, Drain.SELECT):
            lots = part.reshape(-1, max(config.slices, config.softmax_lanes))
            for lot in lots[:, :config.softmax_lanes]:
                bounds = {"bounds": fields["drain"] == Drain.SELECT} if config.pages else {}
                wanted_scores.expect({"column": column, "group": fields["group"],
                                      "values": lot.view(np.uint32).tolist(), **bounds})
            continue
        start = (fields["dst"] + column * fields["stride"]) * 32 + fields["offset"]
        # Zeros follow the last sums.
        part = np.pad(part.ravel(), (0, -part.size % WRITTEN))
        place = slice(start, start + part.size)
        flat = model.reshape(-1)
        flat[place] = add(flat[place], part) if fields["drain"] == Drain.ADD else part
        for at in range(start - start % config.lanes, place.stop, config.lanes):
            if at % 32 == 0 and at >= start:
                tokens += fields["take1"] != 0
            around.takes_before.append(around.planned + tokens)
            end = at + config.lanes
            # Each column at its end, for all its blocks; or the last one, block by block.
            ends_column = end >= place.stop
            counts = ends_column if each["each"] else column == len(sums) - 1
            complete = end % 32 == 0 and end <= place.stop or each["last"] and ends_column
            if complete and counts and fields["raise"] and fields["raise0"]:
                number = fields["stride"] if each["each"] else 1
                around.raises += number * [len(around.takes_before)]
    around.planned += tokens
    return tokens


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1), lambda: bursts(2)])
async def jobs_change_the_workspace_as_they_should(dut, pause):
    async with Bench(dut) as bench:
        around = Surroundings(dut, bench.rng, pause())
        around.planned, model = 0, around.rows.copy()
        cocotb.start_soon(around.run())
        StreamMonitor(dut, "write", around.on_write, row_write(config), pause=pause())
        wanted = bench.expect("scores", scores(config), pause=pause())
        driver = bench.drive("jobs", job(config), pause=pause())
        for number, (each, sums) in enumerate(random_jobs(bench.rng, NUMBER)):
            # A bank is filled when it was drained.
            while around.drained <= number - BANKS:
                await RisingEdge(dut.clk)
            columns, height, _ = sums.shape
            around.banks[number % BANKS, :columns, :height] = sums.view(np.uint32)
            tokens = plan(around, model, number, each, sums, wanted)
            await driver.send(each)
            for _ in range(tokens):
                around.tokens += 1
                await bench.cycles(int(bench.rng.integers(0, 4)))
        while around.written < len(around.takes_before) or bool(dut.busy.value):
            await RisingEdge(dut.clk)
        await bench.cycles(5)
        assert np.array_equal(around.rows.view(np.uint32), model.view(np.uint32))
        assert around.raised == len(around.raises) and around.taken == around.planned
        assert not around.tokens


@cocotb.test()
async def something_leaves_each_cycle(dut):
    """Jobs follow each other without a gap, and each row or lot of scores takes one cycle."""
    async with Bench(dut) as bench:
        around, cycles = Surroundings(dut, bench.rng, never()), []
        cocotb.start_soon(around.run())
        for name, shape in (("write", row_write(config)), ("scores", scores(config))):
            StreamMonitor(dut, name, lambda value: cycles.append(around.cycle), shape)
        driver = bench.drive("jobs", job(config))
        height, number = min(TILE_ROWS, 64 // config.slices), 4
        sums = height * config.slices
        lots = {Drain.STORE: config.lanes, Drain.ADD: config.lanes,
                Drain.SCORES: config.softmax_lanes * -(-config.slices // 32)}
        if sums < config.lanes:
            # The other half of a row waits until this one is written.
            lots = {Drain.SCORES: lots[Drain.SCORES]}
        for drain, each in lots.items():
            cycles.clear()
            stride = -(-sums // 32)
            for n in range(number):
                await driver.send({"drain": {
                    "drain": drain, "height": height, "columns": config.columns, "dst": 0,
                    "stride": stride}, "first": n == 0})
            await bench.cycles(20)
            while bool(dut.busy.value):
                await RisingEdge(dut.clk)
            assert len(cycles) == number * config.columns * sums // each
            assert cycles[-1] - cycles[0] == len(cycles) - 1, f"{drain}: {cycles}"
