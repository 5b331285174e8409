"""Signatures and payloads that join the blocks of the core."""

from types import SimpleNamespace

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, enum, stream
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import bits_for, ceil_log2

from . import isa
from .formats import ACTIVATIONS, ELEMENTS, ScaleKind, Span


__all__ = ["Command", "command_fields", "Take", "Raise", "Source", "Drain", "act_write",
           "array_command", "format_fields", "Part", "kv_part", "choice", "beat", "drain_job",
           "scores", "row_write", "row_read", "fixed_read", "fixed_write", "read_request",
           "read_data", "cached_data", "write_data", "range_command"]


#: What the sequencer sends to a unit: the instruction, and its registers' values.
Command = data.StructLayout({
    "word":    isa.WORD_BITS,   # the instruction
    "address": 32,              # base + offset register, in lines
    "count":   32,              # value of the register named by field count
})


def command_fields(name, word):
    """The fields of instruction ``name`` as slices of ``word``, by name."""
    instruction = isa.BY_NAME[name]
    return SimpleNamespace(**{field.name: word[offset:offset + field.bits]
                              for field, offset in zip(instruction.fields,
                                                       instruction.offsets.values())})


#: A unit's side of a counter that it takes from. ``ok`` is combinational: the counter named by
#: ``id`` is above zero (or ``id`` is 0). A unit may assert ``take`` only while ``ok``.
Take = Signature({"id": Out(4), "ok": In(1), "take": Out(1)})

#: A unit's side of a counter that it raises by one in each cycle with ``en``.
Raise = Signature({"id": Out(4), "en": Out(1)})


class Source(enum.Enum, shape=2):
    """Where the weights of a product come from."""

    WEIGHTS = 0   # W stream (and the replay buffer)
    KEYS = 1      # D stream, through the unpacker
    VALUES = 2    # D stream, through the transposer


class Drain(enum.Enum, shape=3):
    """What becomes of finished sums."""

    STORE = 0     # to the workspace
    ADD = 1       # added to what the workspace holds
    SCORES = 2    # to the softmax
    KEEP = 3      # they stay in the accumulators
    SELECT = 4    # scores of bounds, to the selector


def act_write(config):
    """Half a block of activations for one column, from the quantiser or the softmax."""
    return data.StructLayout({
        "column":  bits_for(config.columns - 1),
        "address": ceil_log2(config.act_blocks) + 1,   # block * 2 + half
        "data":    data.ArrayLayout(signed(8), 16),
        "code":    8,                                   # E8M0 scale of the block (both halves)
        "shift":   8,                                   # accumulators * 2^-shift (softmax)
        "set_shift": 1,                                 # shift is valid
    })


def array_command(config):
    """One product on the array, from the matmul unit's front or from attention."""
    return data.StructLayout({
        "source":  Source,
        "element": range(len(ELEMENTS)),                # what weights are
        "scale":   ScaleKind,
        "four":    1,                                   # elements have 4 bits,
        "six":     1,                                   # 6 bits,
        "double":  1,                                   # or 16 bits
        "wide":    1,                                   # scales have two bytes
        "span":    Span,                                # blocks that share a scale
        "factor":  1,                                   # results are multiplied by a factor
        "activation": range(len(ACTIVATIONS)),          # what activations are
        "act":     ceil_log2(config.act_blocks),        # first activation block
        "halves":  12,                                  # K in halves
        "tiles":   12, "height": 5, "tail": 5,
        "columns": 7, "groups": 8,
        "acc":     ceil_log2(config.acc_rows),          # first accumulator row
        "acc_step": 1,                                  # each tile, and each group, has
                                                        # accumulator rows of its own
        "onto":    1,                                   # add to what the accumulators hold, shifted
        "drain":   Drain,
        "dst":     16, "stride": 12,                    # workspace blocks
        "take0":   4, "take1": 4, "raise0": 4, "raise1": 4,
    })


def format_fields(format):
    """Fields of an ``array_command`` that follow from a :class:`.formats.Format`."""
    return {"element": format.element.number, "scale": format.scale.value,
            "four": int(format.four), "six": int(format.six), "double": int(format.double),
            "wide": int(format.scale.bytes == 2), "span": format.span.value,
            "factor": int(format.factor)}


class Part(enum.Enum, shape=2):
    """What a walk reads at once."""

    KEYS = 0        # keys of a KV block, and the codes of its values
    VALUES = 1      # its values
    BOUNDS = 2      # keys of a block of bounds


#: Announces what comes next on the D stream.
kv_part = data.StructLayout({
    "kind":        Part,
    "head_blocks": 5,
    "packed":      1,           # two elements in a byte
    "number":      27,          # of the block: it holds tokens 32 * number ..
    "first":       1,           # first of its kind in a walk
    "last":        1,           # last of its kind in a walk
    "forward":     1,           # its newest token comes from the staging memory
})

#: A page that was chosen; ``end`` comes behind the last one, and is none.
choice = data.StructLayout({"page": 22, "end": 1})


def beat(config):
    """A beat with its scales beside it, on its way to the array."""
    return data.StructLayout({
        "data":  data.ArrayLayout(unsigned(128), config.slices),
        "scale": data.ArrayLayout(unsigned(16), config.slices),
    })


def drain_job(config):
    """What to do with a finished bank of sums."""
    return data.StructLayout({
        "drain":   Drain,
        "height":  5,                                   # rows a slice
        "columns": 7,
        "dst":     16,                                  # block of column 0's first element...
        "offset":  5,                                   # ...and row-in-block where the tile starts
        "stride":  12,
        "take1":   4, "raise0": 4,
        "raise":   1,                                   # blocks of this job count for raise0
        "group":   bits_for(config.kv_groups - 1),      # of columns, where it matters
    })


def scores(config):
    """Scores of one column of one group on the way to the softmax: of consecutive tokens.

    If pages may be chosen, ``bounds`` tells those that go to the selector instead.
    """
    return data.StructLayout({
        "column": bits_for(config.columns - 1),
        "group":  bits_for(config.kv_groups - 1),
        "values": data.ArrayLayout(unsigned(32), config.softmax_lanes),   # FP32
        **({"bounds": 1} if config.pages else {}),
    })


def row_write(config):
    """A workspace row and its address."""
    return data.StructLayout({"address": ceil_log2(config.rows), "data": config.row_bits})


def row_read(config):
    """A unit's side of a workspace read port that must be granted.

    ``data`` is valid in the cycle after a transfer of ``request``.
    """
    return Signature({
        "request": Out(stream.Signature(ceil_log2(config.rows))),
        "data": In(config.row_bits),
    })


def fixed_read(config):
    """A unit's side of a workspace read port that is always granted: ``data`` a cycle later."""
    return Signature({"en": Out(1), "address": Out(ceil_log2(config.rows)),
                      "data": In(config.row_bits)})


def fixed_write(config):
    """A unit's side of a workspace write port that is always accepted."""
    return Signature({"en": Out(1), "address": Out(ceil_log2(config.rows)),
                      "data": Out(config.row_bits)})


def read_request(config):
    """A burst that some stream wants from memory. It never crosses an aligned burst."""
    return data.StructLayout({
        "address": config.address_bits,                 # byte address, a multiple of the word
        "words":   bits_for(config.burst),              # 1..burst
    })


def read_data(config):
    """A word that came from memory."""
    return data.StructLayout({"data": config.word_bits})


def cached_data(config):
    """A word that came from memory, in the lowest bits, or a whole beat from the cache."""
    return data.StructLayout({"data": 8 * config.beat_bytes, "whole": 1})


def write_data(config):
    """One word to memory, with a strobe for each byte."""
    return data.StructLayout({
        "address": config.address_bits,                 # byte address, a multiple of the word
        "data":    config.word_bits,
        "strobe":  config.word_bytes,
    })


def range_command(config):
    """What the program does with a range of the cache."""
    return data.StructLayout({
        "slot":    bits_for(config.ranges - 1),
        "live":    1,                                   # it is pinned; else it is dropped
        "preload": 1,                                   # read it all now
        "first":   32,                                  # first line,
        "lines":   32,                                  # and lines, at least 1
        "place":   bits_for(max(config.cache_bursts, 2) - 1),   # in the SRAM, in bursts
    })
