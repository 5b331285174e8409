"""Payloads of the attention engine, and sizes of its tiles."""

from amaranth import *
from amaranth.lib import data
from amaranth.utils import ceil_log2

from hw.geometry import BLOCK
from hw.memory.place import beat_bits


__all__ = ["BLOCK", "value_tail", "value_row", "turn_job", "vectors", "softmax_job",
           "select_job", "forward_job", "dealing"]



def value_tail(config, head_blocks):
    """Rows a slice of the last tile of values; those before it have 16."""
    rows = -(-BLOCK * head_blocks // config.slices)
    return rows - 16 * (config.value_groups(head_blocks) - 1)


def value_row(config):
    """A beat of values of one group of channels: those of a token, or of several of small heads."""
    return data.StructLayout({
        "data": data.ArrayLayout(unsigned(128), config.slices),
        "last": 1,                                      # of the group
    })


#: What the transposer has to know about the values of a KV block.
turn_job = data.StructLayout({
    "tiles":  12,
    "tail":   5,                                        # rows a slice of the last; others have 16
    "groups": 4,                                        # how often each tile is given
})


def vectors(config):
    """Most vectors of scores that a KV block has: one for each column of each group."""
    return config.columns * config.kv_groups


def softmax_job(config):
    """What the softmax has to know about a KV block."""
    return data.StructLayout({
        "first":   1,                                   # forget what was before
        "last":    1,                                   # deliver the sums
        "number":  27,                                  # of the block: it holds token 32 * number
        "count":   32,                                  # tokens that exist
        "window":  20,                                  # tokens that a query sees; 0: all
        "sinks":   12,                                  # and the first ones
        "tokens":  1,                                   # columns are the last tokens, not heads
        "columns": 7,
        "groups":  4,
        "address": ceil_log2(config.act_blocks),        # activation block of group 0
    })


def select_job(config):
    """What the selector has to know about a block of bounds."""
    return data.StructLayout({
        "first":   1,                                   # of a select
        "last":    1,
        "number":  27,                                  # it holds pages 32 * number ..
        "pages":   32,                                  # that have bounds; 0: no scores come
        "skip":    12, "recent": 12,                    # first and last pages, not to choose from
        "shift":   4, "least": 12,                      # how many to choose, as in instructions
        "columns": 7, "groups": 4,
    })


#: Where keys and values of a head's newest token are staged, and what becomes of them.
forward_job = data.StructLayout({
    "heads": 5, "head": 5,                              # KV heads of the token, and which one
    "head_blocks": 5, "packed": 1,
    "token": 5,                                         # in its KV block
})


def dealing(config):
    """What the router deals at the moment."""
    return data.StructLayout({
        "forward": 1,                                   # the part has the newest token
        "values":  1,
        "beat":    beat_bits(config),                   # of the part
    })
