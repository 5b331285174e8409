"""Width of memory and size of a batch: tokens a cycle of one array, and its knee.

The linear layers of a decoder layer are measured, for a batch of sequences at once. What is too
large to simulate comes from the cycle model, and says so.
"""

import sys
from dataclasses import replace
from math import ceil

from hw.formats import FORMATS
from sw.bench.linear import Data, Layout, measure, program
from sw.bench.matrices import layer_matrices
from sw.bench.random_model import SHAPES
from sw.bench.row import Row
from sw.cycles import product_cycles


__all__ = ["BATCHES", "WANTED", "WIDTHS", "at_width", "is_simulated", "point", "rows"]


#: Bytes a cycle, up to those of a beat; and sequences at once.
WIDTHS  = (8, 16, 32, 64, 128, 256, 512)
BATCHES = (1, 2, 4, 8, 16, 32, 64)

#: The largest array that is simulated. From so many multipliers on it is slow, and only widths are
#: simulated for which the knee is about the largest batch, or smaller.
MOST_MULTIPLIERS, SLOW = 2048, 1024

#: Most bits of a channel.
MOST_BITS = 1024

FORMAT, LATENCY = "int8", 60

#: A point has as many layers as take about so many cycles, so that its beginning counts little.
CYCLES = 150_000

#: Share of the limit that a point should reach.
WANTED = 0.97


def say(text):
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def multipliers(config):
    """Of the array."""
    return 16 * config.slices * config.columns


def at_width(config, width):
    """The same array with a memory of ``width`` bytes a cycle; a burst covers a line."""
    bits = min(8 * width, MOST_BITS)
    return replace(config, name=f"{config.name}at{width}", data_bits=bits,
                   channels=8 * width // bits, burst=max(16, config.line_bytes // width))


def is_simulated(config, batch):
    """Whether a point is measured in RTL. Batches that use only a part of the columns are all
    alike, so of those one is."""
    size = multipliers(config)
    return (size <= MOST_MULTIPLIERS
            and (size < SLOW or size <= config.word_bytes * max(BATCHES))
            and (batch == 1 or batch >= config.columns))


def limits(layout):
    """``(memory, array)``: cycles that each of them takes at least."""
    config = layout.config
    rate = multipliers(config) * 2 / FORMATS[layout.format].beats
    return (layout.bytes / config.word_bytes, layout.batch * layout.multiplications / rate)


def knee(layout):
    """Sequences from which on the array is the limit."""
    memory, array = limits(layout)
    return layout.batch * memory / array


def laid_out(config, matrices, batch, format, cycles):
    """A :class:`sw.bench.linear.Layout` with as many layers as take so many cycles."""
    single = Layout(config, matrices, batch, format)
    return Layout(config, matrices, batch, format, ceil(cycles / max(limits(single))))


def point(layout, device, data):
    """Figures of a :class:`sw.bench.row.Row`: those of the model, and measured ones if there is a
    device."""
    modelled = product_cycles(layout.config, program(layout), LATENCY)
    cycles, correct = measure(device, layout, data) if device else (None, True)
    memory, array = limits(layout)
    limit, found = max(memory, array), cycles or modelled
    more = {"width": layout.config.word_bytes, "batch": layout.batch, "layers": layout.layers,
            "source": "RTL" if device else "model",
            "tokens_a_megacycle": 1e6 * layout.batch * layout.layers / found,
            "possible": 1e6 * layout.batch * layout.layers / limit,
            "knee": knee(layout), "bound": "memory" if memory >= array else "array",
            "reached": limit / found, "modelled": modelled}
    if device:
        more["model_error"] = modelled / cycles - 1
    return {"cycles": cycles, "limit": limit, "correct": correct, "more": more}


def rows(config, widths=WIDTHS, batches=BATCHES, *, shape=None, format=FORMAT, cycles=CYCLES):
    """A :class:`sw.bench.row.Row` for each width that the array takes and each batch that fits.

    Tokens are those of one layer: a model with N of them makes an N-th.

    Parameters
    ----------
    config : :class:`hw.config.Config`
        Its memory is replaced.
    widths, batches : sequence of int
    shape : dict or None
        Sizes of the layer, as :data:`sw.bench.random_model.SHAPES` has them; by default those of
        its smallest model where points are simulated, else of its largest one.
    format : str
    cycles : int
        See :data:`CYCLES`.
    """
    from sim.device import SimulatedDevice, Timing

    if shape is None:
        shape = SHAPES["15M" if multipliers(config) <= MOST_MULTIPLIERS else "135M"]
    matrices, data = layer_matrices(**shape), None
    for width in (width for width in widths if width <= config.beat_bytes):
        machine = at_width(config, width)
        for batch in batches:
            case = f"{multipliers(config)} multipliers, {width} bytes a cycle, batch {batch}"
            try:
                layout = laid_out(machine, matrices, batch, format, cycles)
            except ValueError as error:
                say(f"{machine}: {case} is left out: {error}")
                continue
            say(f"{machine}: {case}")
            if is_simulated(machine, batch):
                data = data or Data(matrices, max(batches) + machine.columns, format)
                with SimulatedDevice(machine, timing=Timing(latency=LATENCY)) as device:
                    figures = point(layout, device, data)
            else:
                figures = point(layout, None, None)
            yield Row(case=case, config=machine.name, command="tokamac bench width", **figures)
