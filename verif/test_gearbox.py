"""cocotb tests of :class:`hw.matmul.gearbox.Gearbox`."""

import cocotb
import numpy as np

from hw.matmul.gearbox import Gearbox
from verif.bench import Bench, current
from verif.streams import Scoreboard, StreamMonitor, bursts, never, sometimes


CONFIGS = {"one_slice": dict(slices=1), "three_slices": dict(slices=3)}


def component(config):
    return Gearbox(**config)


slices = current(CONFIGS)["slices"]


def beat_of(pieces):
    """A beat of one piece of 16 bytes or less for each slice."""
    return sum(int.from_bytes(piece.tobytes(), "little") << 128 * s
               for s, piece in enumerate(pieces))


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1), lambda: bursts(2)],
                    o_pause=[never, lambda: sometimes(3)])
async def packed_bytes_are_spread(dut, pause, o_pause):
    """Runs of packed beats and of others follow each other; no byte is lost or moved."""
    async with Bench(dut) as bench:
        rng, raw, wanted = bench.rng, [], []
        for packed in (0, 1, 1, 0, 1):
            tape = rng.integers(0, 256, (slices, 48 * int(rng.integers(1, 5))), np.uint8)
            raw += [(packed, beat_of(tape[:, n:n + 16])) for n in range(0, tape.shape[1], 16)]
            step = 12 if packed else 16
            wanted += [(packed, beat_of(tape[:, n:n + step]))
                       for n in range(0, tape.shape[1], step)]
        kinds = iter([packed for packed, _ in wanted[1:]])
        board = Scoreboard("o")
        board.expect_all(beat for _, beat in wanted)
        bench.boards.append(board)
        # Which kind the next beat is must be known before it comes.
        dut.packed.value = wanted[0][0]

        def check(value):
            board.check(value)
            dut.packed.value = next(kinds, 0)

        StreamMonitor(dut, "o", check, pause=o_pause())
        bench.drive("i", pause=pause()).start([beat for _, beat in raw])
