"""Writes what a program with several sequences does between them.

Sequences run one after another. Counters, gains and, unless chunks come first, the weights that
were ordered ahead are at the end of a sequence what the next one begins with.
"""

from .paging import FIELDS
from .writer import MINUS_ONE


__all__ = ["load_prompt", "load_value", "write_end", "write_sequence", "write_values"]


def write_sequence(w):
    """The beginning of a sequence: its table, and where it starts."""
    out, several = w.out, w.task.sequences
    out.emit("set", "sequences that follow", rd="sequence", imm=len(several) - 1)
    if w.orders_ahead:
        w.stream_layers("weights of the first token")
    out.label("sequence")
    out.emit("sync", "nobody uses the table")
    out.emit("mul", "line of its table", rd="row", ra="sequence",
             imm=region_lines(w, "tables") // len(several))
    out.emit("paging", base=w.line("tables"), offset="row", entries=w.task.pool.entries)
    load_value(w, "start", "position")
    write_rope(w)
    if w.chunks is not None:
        load_value(w, "prompt", "prompt")
        load_value(w, "row", "row")


def write_values(w):
    """What a sequence needs from the first token on that passes alone."""
    if w.chunks is not None:
        load_value(w, "passed", "position")
        write_rope(w)
    else:
        load_value(w, "prompt", "prompt")
    load_value(w, "positions", "end")
    if w.task.check:
        load_value(w, "line", "line")


def write_end(w):
    """The end of a sequence: the next one, or the end of the run."""
    out = w.out
    out.emit("set", "the end of a sequence", rd="token", imm=MINUS_ONE)
    out.emit("emit", ra="token")
    if not w.orders_ahead:
        out.emit("flush", "weights that were ordered ahead, if the text ended", w=1)
    out.emit("branch", "the last sequence", condition="eq", ra="sequence", rb="zero",
             target="finish")
    out.emit("add", rd="sequence", ra="sequence", imm=MINUS_ONE)
    if w.forwards:
        rows, heads = w.plan.rows, w.model.n_kv_heads
        out.emit("sync", "logits have been written")
        out.emit("multiply", "only to take what the last layer has appended", dst=rows, a=rows,
                 b=rows, blocks=heads, take0="appended")
    out.emit("branch", condition="eq", ra="zero", rb="zero", target="sequence")
    out.label("finish")


def write_rope(w):
    w.out.emit("mul", "line of its rotary row", rd="rope", ra="position",
               imm=w.row_lines(w.model.table_blocks))


def load_value(w, field, register):
    """Put what memory holds for this sequence into a register."""
    lines = region_lines(w, "sequences") // len(FIELDS)
    w.out.emit("load", field, base=w.line("sequences") + FIELDS.index(field) * lines,
               count="sequence")
    w.out.emit("wait", rd=register, source="load")


def load_prompt(w, comment, count):
    """Order a token of the sequence's prompt; ``row`` is lost if there are several."""
    offset = {}
    if w.task.sequences:
        w.out.emit("mul", "line of its prompt", rd="row", ra="sequence",
                   imm=region_lines(w, "prompt") // len(w.task.sequences))
        offset = {"offset": "row"}
    w.out.emit("load", comment, base=w.line("prompt"), count=count, **offset)


def region_lines(w, name):
    return w.memory.regions[name].lines
