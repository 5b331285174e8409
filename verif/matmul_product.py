"""Products for the matrix engine, with all that they should do, in order."""

from dataclasses import dataclass, field

import numpy as np

from hw.formats import ACTIVATIONS, BLOCK, FORMATS, keys, values
from hw.signatures import Drain, Source, format_fields
from verif.reference.beats import HALF
from verif.reference.floats import add
from verif.reference.matmul import matmul
from verif.reference.tape import ROWS, pack, tiling


__all__ = ["Product", "Grant", "plan"]


FIXED = {Source.KEYS: keys, Source.VALUES: values}


@dataclass(kw_only=True, eq=False)
class Product:
    """One command of the array, with its operands. Its vectors are ``groups x columns``."""

    weights: np.ndarray             # int [N, K]
    scales: np.ndarray              # [N, scales]
    act: np.ndarray                 # integers [vectors, K]
    codes: np.ndarray               # uint8 [vectors, blocks]
    shift: np.ndarray = None        # int [vectors], of what the accumulators hold
    old: np.ndarray = None          # float32 [vectors, elements]: what destinations hold before
    columns: int = 1
    factor: np.float32 = None       # of the matrix, if its format has one
    source: Source = Source.WEIGHTS
    format: str = "int8"            # of weights; elements of keys and values
    activation: str = "int8"
    cut: tuple = None               # tiles, height, tail; by default those of `tiling`
    drain: Drain = Drain.STORE
    address: int = 0                # activation block
    acc: int = 0
    acc_step: bool = False
    onto: bool = False
    dst: int = 0
    stride: int = 0
    counters: dict = field(default_factory=dict)   # take0, take1, raise0, raise1; absent: none
    #: Writes and raises of ``raise1`` after which this product and all before it are done.
    writes_done: int = 0
    releases_done: int = 0

    @property
    def meaning(self):
        """The :class:`hw.formats.Format` of the weights."""
        return FIXED.get(self.source, FORMATS.get)(self.format)

    @property
    def blocks(self):
        return -(-self.weights.shape[1] // BLOCK)

    @property
    def halves(self):
        return -(-self.weights.shape[1] // HALF)

    @property
    def groups(self):
        return len(self.act) // self.columns

    def tiles(self, slices):
        """Rows a slice of each tile."""
        tiles, height, tail = self.cut or tiling(len(self.weights), slices, self.meaning)
        return [height] * (tiles - 1) + [tail]

    def command(self, config):
        """Fields of the ``array_command``."""
        tiles = self.tiles(config.slices)
        return {
            "source": self.source, **format_fields(self.meaning), "act": self.address,
            "activation": list(ACTIVATIONS).index(self.activation),
            "halves": self.halves, "tiles": len(tiles), "height": tiles[0], "tail": tiles[-1],
            "columns": self.columns, "groups": self.groups, "acc": self.acc,
            "acc_step": self.acc_step, "onto": self.onto, "drain": self.drain, "dst": self.dst,
            "stride": self.stride, **self.counters}

    def beats(self, config):
        """Beats as integers; those of values have no scales."""
        tape = pack(self.weights, self.scales, self.meaning, config.slices, self.factor, self.cut)
        size = config.beat_bytes
        return [int.from_bytes(tape[n:n + size], "little") for n in range(0, len(tape), size)]

    def activations(self):
        """``act_write`` fields of each half block, in the order in which they are produced.

        With each comes whether a block of all columns is complete.
        """
        vectors = np.arange(len(self.act)).reshape(self.groups, self.columns)
        for g, block in np.ndindex(self.groups, self.blocks):
            writes = [(column, half) for column in range(self.columns) for half in (0, 1)
                      if 2 * block + half < self.halves]
            for column, half in writes:
                v, start = vectors[g, column], (2 * block + half) * HALF
                yield {
                    "column": column,
                    "address": 2 * (self.address + g * self.blocks + block) + half,
                    "data": ACTIVATIONS[self.activation].encode(
                        self.act[v, start:start + HALF]).view(np.int8),
                    "code": self.codes[v, block],
                    "shift": 0 if self.shift is None else self.shift[v],
                    "set_shift": self.shift is not None,
                }, (column, half) == writes[-1]

    def old_block(self, vector, block):
        """What block ``block`` of a destination holds before; None if that does not matter."""
        if self.old is None:
            return None
        old = self.old[vector, block * BLOCK:(block + 1) * BLOCK]
        return np.pad(old, (0, BLOCK - len(old)))


@dataclass
class Grant:
    """A destination block becomes free: ``block`` of the workspace then holds ``old``."""

    counter: int
    product: Product
    block: int
    old: np.ndarray


def plan(products, config):
    """What a sequence of products does: a dict of lists, each in the order of its events.

    ``writes``: (row, bits, blocks taken before); ``scores``: ``scores`` payloads; ``raise0``:
    (counter, writes before); ``raise1``, ``take0``: counters; ``grants``: :class:`Grant` for each
    take of ``take1``.
    """
    events = {name: [] for name in ("writes", "scores", "raise0", "raise1", "take0", "grants")}
    workspace = np.zeros(config.rows * config.lanes, np.float32)
    accumulators = {}
    for p in products:
        tiles = p.tiles(config.slices)
        rows = sum(tiles) * config.slices
        # Rows beyond the matrix are zeros, and so is what is written behind them.
        beyond = ((0, rows - len(p.weights)), (0, 0))
        result = matmul(np.pad(p.weights, beyond), np.pad(p.scales, beyond), p.act, p.codes,
                        p.meaning, factor=p.factor,
                        activation=p.activation, old=accumulators[p.acc] if p.onto else None,
                        shift=0 if p.shift is None else p.shift)
        accumulators[p.acc] = result
        if p.old is not None:
            for v, old in enumerate(p.old):
                start = (p.dst + v * p.stride) * BLOCK
                end = len(old) + -len(old) % BLOCK
                workspace[start:start + end] = np.pad(old, (0, end - len(old)))
        if p.drain in (Drain.STORE, Drain.ADD):
            rows += -rows % min(config.lanes, ROWS * config.slices)
        result = np.pad(result, ((0, 0), (0, rows - result.shape[1])))
        row = 0
        for t, height in enumerate(tiles):
            last = t == len(tiles) - 1
            elements = slice(row, rows if last else row + height * config.slices)
            row = elements.stop
            for g in range(p.groups):
                if t == 0:
                    events["take0"] += [p.counters.get("take0", 0)] * p.blocks
                if last:
                    events["raise1"] += [p.counters.get("raise1", 0)] * p.blocks
                for column in range(p.columns):
                    v = g * p.columns + column
                    if p.drain == Drain.SCORES:
                        plan_scores(events, config, column, g, result[v, elements])
                    elif p.drain != Drain.KEEP:
                        counts = p.source == Source.VALUES or v == len(p.act) - 1
                        plan_writes(events, config, workspace, p, v, elements.start,
                                    result[v, elements], counts, last)
        p.writes_done, p.releases_done = len(events["writes"]), len(events["raise1"])
    for name in ("take0", "raise1"):
        events[name] = [counter for counter in events[name] if counter]
    return events


def plan_scores(events, config, column, group, sums):
    lots = sums.reshape(-1, max(config.slices, config.softmax_lanes))
    for lot in lots[:, :config.softmax_lanes]:
        events["scores"].append({"column": column, "group": group,
                                 "values": lot.view(np.uint32).tolist()}
                                | ({"bounds": 0} if config.pages else {}))


def plan_writes(events, config, workspace, p, vector, first, sums, counts, last):
    """Rows of the sums from element ``first`` of a vector on; ``last``: they are its last ones."""
    base  = (p.dst + vector * p.stride) * BLOCK
    start = base + first
    place = slice(start, start + len(sums))
    workspace[place] = add(workspace[place], sums) if p.drain == Drain.ADD else sums
    for at in range(start // config.lanes * config.lanes, place.stop, config.lanes):
        if at % BLOCK == 0 and at >= start and p.counters.get("take1"):
            block = (at - base) // BLOCK
            events["grants"].append(Grant(p.counters["take1"], p, at // BLOCK,
                                          p.old_block(vector, block)))
        row = workspace[at:at + config.lanes].view(np.uint32).copy()
        events["writes"].append((at // config.lanes, row, len(events["grants"])))
        end = at + config.lanes
        complete = end % BLOCK == 0 and end <= place.stop or last and end >= place.stop
        if complete and counts and p.counters.get("raise0"):
            events["raise0"].append((p.counters["raise0"], len(events["writes"])))
