"""The instruction set: one definition for decoder, assembler, disassembler and documentation.

An instruction is a word of 128 bits. Bits 0-5 are the opcode, the fields follow in the order of
their definition, and every bit that no field uses must be zero.
"""

from dataclasses import dataclass

from .formats import ACTIVATIONS as ACTIVATION_ELEMENTS
from .formats import FORMATS as WEIGHT_FORMATS
from .formats import KV as KV_ELEMENTS


__all__ = ["WORD_BITS", "OPCODE_BITS", "REGISTERS", "COUNTERS", "Field", "Instruction",
           "INSTRUCTIONS", "BY_NAME", "BY_OPCODE", "UNITS", "CONDITIONS", "SOURCES", "STREAMS",
           "FORMATS", "ACTIVATIONS", "KV", "RULES", "PATTERNS", "SIGNS", "VECTOR_OPS", "encode",
           "decode"]

WORD_BITS = 128
OPCODE_BITS = 6
REGISTERS = 16
COUNTERS = 16

CONDITIONS = ("eq", "ne", "lt", "ge")
SOURCES = ("token", "load", "cycle")
STREAMS = ("w", "d")
#: Weight formats, in the order of their numbers.
FORMATS = tuple(WEIGHT_FORMATS)
#: Elements of activations, and of keys and values, in the order of their numbers.
ACTIVATIONS = tuple(ACTIVATION_ELEMENTS)
KV = tuple(KV_ELEMENTS)
#: How a quantiser finds a scale.
RULES = ("floor", "up")
DRAINS = ("store", "add")
TARGETS = ("column", "staging")
#: Which KV blocks a walk reads: those of the window and the sinks; these and the chosen pages; or,
#: instead of KV blocks, blocks of bounds.
PATTERNS = ("window", "chosen", "bounds")
#: Elements that a quantiser keeps, by their sign; the others become 0.
SIGNS = ("all", "positive", "negative")


@dataclass(frozen=True)
class Field:
    """A field of an instruction: ``bits`` wide, optionally one of the names in ``choices``."""

    name: str
    bits: int
    doc: str
    choices: tuple = ()


@dataclass(frozen=True)
class Instruction:
    """An instruction: its ``unit`` says who executes it."""

    name: str
    opcode: int
    unit: str
    doc: str
    fields: tuple

    def __post_init__(self):
        used = OPCODE_BITS + sum(field.bits for field in self.fields)
        assert used <= WORD_BITS, f"{self.name} needs {used} bits"

    @property
    def offsets(self):
        """First bit of each field."""
        offsets, offset = {}, OPCODE_BITS
        for field in self.fields:
            offsets[field.name] = offset
            offset += field.bits
        return offsets


def reg(name, doc):
    return Field(name, 4, doc)


TAKES = (Field("take0", 4, "counter taken from first"),
         Field("take1", 4, "counter taken from second"))
RAISES = (Field("raise0", 4, "counter of what was produced"),
          Field("raise1", 4, "counter of what was released"))
SYNC = TAKES + RAISES
ADDRESS = (Field("base", 32, "address, in lines"), reg("offset", "register added to the base"))

#: Which tokens a query sees, and where the blocks of a window lie.
WINDOW = (Field("window", 20, "tokens that a query sees, its own among them; 0: all"),
          Field("sinks", 12, "first tokens, which are seen always"))
RING = Field("ring", 16, "KV blocks that the tokens behind the sinks use in turn; 0: no ring")
HEAD_BLOCKS = Field("head_blocks", 5, "blocks of a head")

SLOT = Field("slot", 3, "number of the range")
DST = Field("dst", 16, "first workspace block written")
SRC_A = Field("a", 16, "first workspace block of a")
SRC_B = Field("b", 16, "first workspace block of b")
BLOCKS = Field("blocks", 12, "blocks of 32 elements")
IMM = Field("imm", 32, "FP32 constant")


def vector(name, opcode, doc, *extra):
    return Instruction(name, opcode, "vector", doc, SYNC + (DST, SRC_A, BLOCKS) + extra)


INSTRUCTIONS = (
    Instruction("stop", 0, "control", "Wait until all units rest, then end the run.", ()),
    Instruction("set", 1, "control", "rd = imm.", (
        reg("rd", "register written"), Field("imm", 32, "value"))),
    Instruction("add", 2, "control", "rd = ra + rb + imm.", (
        reg("rd", "register written"), reg("ra", "first term"), reg("rb", "second term"),
        Field("imm", 32, "third term"))),
    Instruction("mul", 3, "control", "rd = ra * imm, low 32 bits.", (
        reg("rd", "register written"), reg("ra", "factor"), Field("imm", 32, "factor"))),
    Instruction("branch", 4, "control", "Go to target if ra compares with rb (unsigned).", (
        Field("condition", 2, "comparison", CONDITIONS), reg("ra", "left"), reg("rb", "right"),
        Field("target", 16, "instruction number"))),
    Instruction("wait", 5, "control", "Wait for a result and put it into rd.", (
        reg("rd", "register written"), Field("source", 2, "what to wait for", SOURCES))),
    Instruction("emit", 6, "control", "Send ra to the host; waits while its queue is full.", (
        reg("ra", "value"),)),
    Instruction("raise", 7, "control", "Add to a counter.", (
        Field("counter", 4, "counter"), Field("count", 10, "units added"))),
    Instruction("sync", 8, "control", "Wait until matmul, vector and mover rest.", ()),
    Instruction("flush", 9, "control", "Discard what streams hold and have in flight.", (
        Field("w", 1, "flush W"), Field("d", 1, "flush D"))),
    Instruction("paging", 10, "control", "From now on a table says where KV blocks lie, or none.",
                ADDRESS + (
        Field("entries", 20, "32-bit numbers of the table; 0: no table"),)),
    Instruction("pin", 11, "control", "Hold a range of memory in the cache, from now on.",
                (SLOT, Field("preload", 1, "read it all now")) + ADDRESS + (
        Field("lines", 32, "length, at least 1"),
        Field("place", 24, "where it lies in the cache, in aligned bursts"))),
    Instruction("drop", 12, "control", "Hold a range no longer.", (SLOT,)),
    Instruction("stream", 16, "fetch", "Read beats from consecutive addresses.", (
        Field("stream", 1, "stream", STREAMS),) + ADDRESS + (Field("beats", 32, "length"),)),
    Instruction("walk", 17, "fetch", "Read the KV blocks of a head that queries need into D.", (
        Field("take0", 4, "counter taken before the first block of the chunk"),) + ADDRESS + (
        reg("count", "register: tokens that the last query sees"), HEAD_BLOCKS,
        Field("span", 7, "tokens of the chunk, at least 1"), *WINDOW, RING,
        Field("pattern", 2, "blocks to read", PATTERNS),
        Field("page", 3, "log2 of the KV blocks of a chosen page"),
        Field("chain", 1, "keys may come before the last values of the walk before"),
        Field("forward", 1, "the last token is staged, and take0 is taken before the first block"),
        Field("kv", 2, "elements of keys and values, or of bounds", KV))),
    Instruction("matmul", 24, "matmul", "Matrix product of columns and the W stream.", SYNC + (
        DST, Field("act", 12, "first activation block"),
        Field("halves", 12, "K in halves of 16"), Field("tiles", 12, "tiles, at least 1"),
        Field("height", 5, "rows a slice of all tiles but the last"),
        Field("tail", 5, "rows a slice of the last tile"),
        Field("columns", 7, "active columns"), Field("groups", 8, "groups of columns"),
        Field("stride", 12, "workspace blocks from one vector to the next"),
        Field("format", 4, "weight format", FORMATS), Field("drain", 1, "result", DRAINS),
        Field("activation", 1, "elements of activations", ACTIVATIONS))),
    Instruction("attend", 25, "matmul", "Attention of the columns' queries to the D stream.",
                SYNC + (
        DST, Field("act", 12, "first activation block of the queries"),
        Field("probability", 12, "first activation block for probabilities"), HEAD_BLOCKS,
        Field("columns", 7, "active columns"), Field("groups", 4, "groups of columns"),
        reg("count", "register: tokens that the last query sees"), *WINDOW,
        Field("tokens", 1, "columns are consecutive tokens, not heads of one"),
        Field("heads", 5, "KV heads of the staged token, if the walk has forward; else 0"),
        Field("head", 5, "which of them"),
        Field("activation", 1, "elements of queries", ACTIVATIONS),
        Field("kv", 2, "elements of keys and values", KV))),
    Instruction("select", 26, "matmul", "Choose the pages of keys whose bounds score highest.",
                SYNC + (
        Field("act", 12, "first activation block of the queries' positive and negative parts"),
        HEAD_BLOCKS, Field("columns", 7, "active columns"),
        Field("groups", 4, "groups of columns"),
        reg("count", "register: pages that have bounds"),
        Field("skip", 12, "first pages, not to choose from"),
        Field("recent", 12, "last pages, not to choose from"),
        Field("shift", 4, "choose count >> shift pages"),
        Field("least", 12, "but at least so many"),
        Field("activation", 1, "elements of queries", ACTIVATIONS),
        Field("kv", 2, "elements of bounds", KV))),
    vector("norm", 32, "RMS norm of vectors with gain b.", SRC_B, IMM,
           Field("period", 12, "blocks of a vector; 0: all")),
    vector("rope", 33, "Rotate pairs by the table b.", SRC_B,
           Field("period", 4, "blocks after which the table repeats")),
    vector("gate", 34, "silu(a) * b over alternating blocks of the source."),
    vector("divide", 35, "Divide by attention sums.", Field("period", 4, "blocks of a head")),
    vector("sum", 36, "a + b.", SRC_B),
    vector("multiply", 37, "a * b.", SRC_B),
    Instruction("quantise", 38, "vector", "Blocks with a power of two as scale.", SYNC + (
        Field("dst", 12, "first activation block, or first staging block"), SRC_A, BLOCKS,
        Field("target", 1, "where to", TARGETS),
        Field("group", 4, "blocks that share a scale"),
        Field("per_vector", 10, "blocks of a vector (column target)"),
        Field("columns", 7, "columns over which vectors are dealt"),
        Field("element", 2, "elements", KV), Field("rule", 1, "of the scale", RULES),
        Field("sign", 2, "elements that are kept", SIGNS),
        Field("halves", 5, "half blocks of a piece; 0: blocks follow each other"),
        Field("middle", 1, "the first piece begins in the middle of block a"),
        Field("zeros", 4, "half blocks of zeros behind each piece"),
        Field("pieces", 8, "pieces of a run"),
        Field("stride", 12, "blocks from a piece of a run to the next"),
        Field("step", 5, "half blocks from a run to the next"))),
    Instruction("pick", 39, "vector", "Running argmax of a * imm, with noise if asked.", SYNC + (
        SRC_A, BLOCKS, IMM, Field("index", 16, "block index of a's first block in the vector"),
        reg("count", "register: noise counter"), Field("first", 1, "forget the running maximum"),
        Field("last", 1, "deliver the index as token"), Field("noise", 1, "add Gumbel noise"))),
    vector("maximum", 40, "The larger of a and b.", SRC_B),
    vector("minimum", 41, "The smaller of a and b.", SRC_B),
    Instruction("gather", 48, "mover", "Read FP32 blocks from memory.", SYNC + (
        DST, BLOCKS) + ADDRESS),
    Instruction("scatter", 49, "mover", "Write FP32 blocks to memory.", SYNC + (
        SRC_A, BLOCKS) + ADDRESS),
    # Counters lie as in the other commands of the mover; there is no second one to take from.
    Instruction("append", 50, "mover", "Write the staged keys, then values, of tokens.",
                (SYNC[0], Field("more", 4, "tokens behind the first one")) + SYNC[2:] + ADDRESS + (
        reg("count", "register: position of the first token, or of the page"),
        Field("heads", 5, "KV heads"), HEAD_BLOCKS,
        Field("head_stride", 24, "lines from one head to the next"), RING, WINDOW[1],
        Field("bounds", 1, "keys only, into blocks of bounds"),
        Field("behind", 1, "staged behind as many blocks as a token has"),
        Field("kv", 2, "elements of what is staged", KV))),
    Instruction("load", 51, "mover", "Read a 32-bit word; delivers it as load.", ADDRESS + (
        reg("count", "register: index of the word, counted from the address"),)),
    Instruction("choose", 52, "mover", "Read a list of pages, ascending, for walks to choose.",
                ADDRESS + (
        reg("count", "register: pages from this one on are left out"),
        Field("entries", 16, "32-bit numbers of the list"))),
)

BY_NAME = {instruction.name: instruction for instruction in INSTRUCTIONS}
BY_OPCODE = {instruction.opcode: instruction for instruction in INSTRUCTIONS}
UNITS = ("control", "fetch", "matmul", "vector", "mover")
VECTOR_OPS = tuple(i.name for i in INSTRUCTIONS if i.unit == "vector")


def encode(name, **values):
    """The 128-bit word of an instruction.

    Fields with choices also take a choice's name. Raises :class:`ValueError` for an unknown
    instruction, an unknown or missing field, or a value that does not fit.
    """
    if name not in BY_NAME:
        raise ValueError(f"there is no instruction {name!r}")
    instruction = BY_NAME[name]
    word, known = instruction.opcode, {field.name for field in instruction.fields}
    for key in values:
        if key not in known:
            raise ValueError(f"{name} has no field {key!r}; it has {', '.join(sorted(known))}")
    for field in instruction.fields:
        value = values.get(field.name, 0)
        if isinstance(value, str):
            if value not in field.choices:
                raise ValueError(f"{name} {field.name} must be one of "
                                 f"{', '.join(field.choices)}, not {value!r}")
            value = field.choices.index(value)
        if not 0 <= value < 2**field.bits:
            raise ValueError(f"{name} {field.name} must be 0 to {2**field.bits - 1}, not {value}")
        word |= int(value) << instruction.offsets[field.name]
    return word


def decode(word):
    """``(name, fields)`` of a word, or :class:`ValueError` if it is illegal."""
    opcode = word & (2**OPCODE_BITS - 1)
    if opcode not in BY_OPCODE:
        raise ValueError(f"illegal opcode {opcode}")
    instruction = BY_OPCODE[opcode]
    values, rest = {}, word >> OPCODE_BITS
    for field in instruction.fields:
        value = rest & (2**field.bits - 1)
        rest >>= field.bits
        if field.choices:
            if value >= len(field.choices):
                raise ValueError(f"illegal {field.name} {value} of {instruction.name}")
            value = field.choices[value]
        values[field.name] = value
    if rest:
        raise ValueError(f"reserved bits of {instruction.name} are not zero")
    return instruction.name, values
