"""Payloads that join the blocks of the matrix engine."""

from amaranth.hdl import Mux, signed, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import Out, Signature
from amaranth.utils import bits_for, ceil_log2

from hw.formats import ACTIVATIONS, ELEMENTS, ScaleKind, Span
from hw.signatures import act_write, beat, drain_job

from .timing import PAIRS
from .widths import FACTOR_BITS, plain_bits, scaled_bits


__all__ = ["TILE_ROWS", "PIECE", "BANKS", "EVENTS", "tile_beat", "unpack_command", "replay_command",
           "job", "issue", "read_control", "sum_control", "value_control", "acc_control",
           "write_control", "drain_read", "drained_sums", "lane", "act_shape", "bypasses",
           "pair_shape", "scale_shape", "bank_after", "groups"]


#: Most rows a slice of a tile.
TILE_ROWS = 16

#: Bytes that a slice takes from a beat.
PIECE = 16

#: Finished tiles that a column holds until they are drained: one that is read, one whose sums are
#: on their way, and one that is filled.
BANKS = 3

#: What the array did in a cycle.
EVENTS = data.StructLayout({
    "busy":       1,   # took a beat
    "memory":     1,   # waited for a beat
    "dependency": 1,   # waited for a counter, or for a bank to be drained
})


def tile_beat(config):
    """A beat, and whether it is the last one of its tile."""
    return data.StructLayout({"beat": beat(config), "last": 1})


#: The part of an ``array_command`` that says how tiles lie on a stream.
unpack_command = data.StructLayout({
    "four": 1, "six": 1, "double": 1, "wide": 1, "span": Span, "factor": 1,
    "halves": 12, "tiles": 12, "height": 5, "tail": 5,
})

#: The part of an ``array_command`` that says how often tiles are used.
replay_command = data.StructLayout({"tiles": 12, "groups": 8})


def job(config):
    """A ``drain_job``, with what else the drain has to know of the command."""
    return data.StructLayout({
        "drain":   drain_job(config),
        "each":    1,   # every column raises, all its blocks with the last one
        "first":   1,   # first job of its command
        "last":    1,   # of its last tile, which may end anywhere
        "factor":  1,   # sums are multiplied by the factor of the matrix
    })


def bank_after(bank):
    """The bank that is used after ``bank``."""
    return Mux(bank == BANKS - 1, 0, bank + 1)


def groups(config):
    """Groups of ``drain_rows`` rows in all banks of a slice."""
    return BANKS * TILE_ROWS // config.drain_rows


def row_shape(config):
    """Shape of an accumulator row."""
    return unsigned(ceil_log2(config.acc_rows))


def issue(config):
    """A beat on its way into the array, with all that becomes of it there."""
    return data.StructLayout({
        "valid":    1,
        "beat":     beat(config),
        "element":  range(len(ELEMENTS)),
        "scale":    ScaleKind,
        "four":     1,
        "activation": range(len(ACTIVATIONS)),          # what activations are
        "starts":   1,                                  # first beat of its block and row
        "upper":    1,                                  # upper bytes of 16 bits
        "apart":    1,                                  # halves of the block are scaled apart
        "address":  ceil_log2(config.act_blocks) + 1,   # of the activations: block * 2 + half
        "ends":     1,                                  # last beat of its block and row
        "row":      row_shape(config),                  # accumulator row; 4 bits: the first of two
        "tile_row": ceil_log2(TILE_ROWS),
        "old":      1,                                  # add to what the accumulator holds...
        "shifted":  1,                                  # ...after the shift
        "out":      1,                                  # the sum goes to the bank
        "bank":     ceil_log2(BANKS),
        "done":     1,                                  # ends a pass whose sums go to the bank
    })


def pair_shape(config):
    """The weights of a byte, decoded: an element of 8 bits is ``16 * high + low``.

    A multiplier takes ``low`` and ``high``. Without elements of 4 bits there is one half only. An
    element that is no integer of 8 bits is ``low << shift``.
    """
    shift = {}
    if any(element.shifts for element in config.elements):
        shift["shift"] = range(1 + max(e.most_shift for e in config.elements if e.shifts))
    # The lower byte of 16 bits has no sign.
    if not config.split:
        return data.StructLayout({"whole": signed(9 if config.having("double") else 8)} | shift)
    # INT4 has -8 to 7, E2M1 has -12 to 12.
    widest = max(int(abs(element.integers.astype(int)).max())
                 for element in config.elements if element.bits == 4)
    high = 5 if widest > 8 or config.having("double") else 4
    return data.StructLayout({"low": signed(5), "high": signed(high)} | shift)


def act_shape(config):
    """An activation: ``value``, or ``value << shift`` if there are others than INT8."""
    shifts = [element.most_shift for element in config.multiplicands if element.shifts]
    return data.StructLayout(
        {"value": signed(8)} | ({"shift": range(1 + max(shifts))} if shifts else {}))


def bypasses(config):
    """Whether some block sums are too wide to be multiplied by a factor."""
    return 0 < scaled_bits(config) < plain_bits(config)


def scale_shape(config):
    """A weight scale, decoded: ``factor * 2^exponent``; ``plain`` if the factor is 1.

    ``halved``: the halves of a block have scales of their own, ``significand << shift``.
    """
    fields = {"factor": signed(FACTOR_BITS)} if scaled_bits(config) else {}
    fields |= {"exponent": signed(9), "nan": 1}
    if bypasses(config):
        fields |= {"plain": 1}
    if config.halves:
        half = data.StructLayout({"significand": 4, "shift": 4})
        fields |= {"halved": 1, "first": half, "second": half}
    return data.StructLayout(fields)


# What travels along the columns. Each travels at the time at which the column needs it.

def read_control(config):
    """Read half a block of activations."""
    return data.StructLayout({
        "en": 1, "address": ceil_log2(config.act_blocks) + 1,
        "activation": range(len(ACTIVATIONS))})


#: Take the products of a beat into the block sums.
sum_control = data.StructLayout({
    "en":    1,
    "start": 1,   # they are the first ones
    "upper": 1,   # they count 256 times
    "apart": 1,   # the sum of the first half is kept apart
})

#: Which sum is scaled: of 8-bit weights, of the low, or of the high 4-bit weights.
value_control = data.StructLayout({"four": 1, "high": 1})


def acc_control(config):
    """Read what a term is added to."""
    return data.StructLayout({"row": row_shape(config), "old": 1, "shifted": 1})


def write_control(config):
    """Write a sum, also to a bank if it is finished."""
    return data.StructLayout({
        "en": 1, "row": row_shape(config), "out": 1, "place": ceil_log2(BANKS * TILE_ROWS)})


def drain_read(config):
    """Read a group of rows of a bank; ``column`` counts down on the way."""
    return data.StructLayout({
        "en": 1, "column": bits_for(config.columns - 1), "place": ceil_log2(groups(config))})


def drained_sums(config):
    """A group of rows: sum ``i * slices + s`` is that of its row ``i`` and slice ``s``."""
    return data.ArrayLayout(32, config.slices * config.drain_rows)


def row_place(config):
    """Shape of a row's place, counted from the block in which its column starts."""
    return unsigned(ceil_log2(TILE_ROWS * config.slices // config.lanes + config.block_rows + 1))


def drained_row(config):
    """Sums for a row of the workspace, and what else is to be done."""
    return data.StructLayout({
        "data":      config.row_bits,
        "address":   ceil_log2(config.rows),
        "add":       1,   # to what the row holds
        "keep_low":  1,   # lanes 0-15 are no sums: they keep what the row holds
        "keep_high": 1,   # so do the lanes from 16 on
        "waits":     1,   # until all rows before are written
        "take1":     4,   # counter taken from before; 0 for none
        "raise0":    4,   # counter raised after,
        "raises":    bits_for(config.max_head_blocks),      # so often
        **({"factor": 32} if config.having("factor") else {}),
    })


def lane(config):
    """All that passes from a column to the next one."""
    slices = config.slices
    return Signature({
        "act":    Out(data.StructLayout({"en": 1, "write": act_write(config)})),
        "read":   Out(read_control(config)),
        "data":   Out(PAIRS * pair_shape(config).size).array(slices),
        "sum":    Out(sum_control),
        "value":  Out(value_control),
        "scale":  Out(scale_shape(config)).array(slices),
        "acc":    Out(acc_control(config)),
        "write":  Out(write_control(config)),
        "drain":  Out(drain_read(config)),
        "result": Out(32).array(slices * config.drain_rows),
    })
