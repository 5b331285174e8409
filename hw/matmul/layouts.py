"""Payloads that join the blocks of the matrix engine."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import Out, Signature
from amaranth.utils import bits_for, ceil_log2

from hw.formats import ELEMENTS, ScaleKind
from hw.signatures import act_write, beat, drain_job

from .timing import FACTOR_BITS, PAIRS


__all__ = ["TILE_ROWS", "BANKS", "SCALE", "EVENTS", "tile_beat", "unpack_command",
           "replay_command", "job", "issue", "read_control", "sum_control", "value_control",
           "acc_control", "write_control", "drain_read", "lane", "pair_shape"]


#: Most rows a slice of a tile.
TILE_ROWS = 16

#: Finished tiles that a column holds until they are drained.
BANKS = 2

#: A weight scale, ``factor * 2^exponent``.
SCALE = data.StructLayout({"factor": signed(FACTOR_BITS), "exponent": signed(9), "nan": 1})

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
    "four": 1, "wide": 1, "halves": 12, "tiles": 12, "height": 5, "tail": 5,
})

#: The part of an ``array_command`` that says how often tiles are used.
replay_command = data.StructLayout({"tiles": 12, "groups": 8})


def job(config):
    """A ``drain_job``, with what else the drain has to know of the command."""
    return data.StructLayout({
        "drain":   drain_job(config),
        "each":    1,   # blocks of every column count for raise0, not of the last one alone
        "first":   1,   # first job of its command
    })


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
        "address":  ceil_log2(config.act_blocks) + 1,   # of the activations: block * 2 + half
        "ends":     1,                                  # last half of its block and row
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
    shift = {"shift": 4} if config.shifts else {}
    if not config.split:
        return data.StructLayout({"whole": signed(8)} | shift)
    # INT4 has -8 to 7, E2M1 has -12 to 12.
    widest = max(int(abs(element.integers.astype(int)).max())
                 for element in config.elements if element.bits == 4)
    return data.StructLayout({"low": signed(5), "high": signed(4 if widest <= 8 else 5)} | shift)


# What travels along the columns. Each travels at the time at which the column needs it.

def read_control(config):
    """Read half a block of activations."""
    return data.StructLayout({
        "en": 1, "address": ceil_log2(config.act_blocks) + 1})


#: Take the products of a beat into the block sums.
sum_control = data.StructLayout({"en": 1, "start": 1})

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
    """Read a row of a bank; ``column`` counts down on the way."""
    return data.StructLayout({
        "en": 1, "column": bits_for(config.columns - 1), "place": ceil_log2(BANKS * TILE_ROWS)})


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
        "raise0":    4,   # counter raised after
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
        "scale":  Out(SCALE).array(slices),
        "acc":    Out(acc_control(config)),
        "write":  Out(write_control(config)),
        "drain":  Out(drain_read(config)),
        "result": Out(32).array(slices),
    })
