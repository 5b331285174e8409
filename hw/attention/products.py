"""The products that a command of the matrix unit asks for, as commands for the array."""

from types import SimpleNamespace

from amaranth import *

from hw import isa
from hw.attention.geometry import value_tail
from hw.formats import FORMATS, KEYS, keys, values
from hw.memory.sizes import by_head_blocks
from hw.signatures import Drain, Source, array_command, command_fields, format_fields


__all__ = ["groups", "is_select", "plain_product", "key_product", "bounds_product", "value_shape",
           "value_product"]


#: First accumulator row of attention's output.
OUTPUT_ROW = 16


def product(config, **fields):
    """An array command; fields that are not named are 0."""
    values = {name: Value.cast(value) for name, value in fields.items()}
    return Cat(resized(values.get(name, Const(0)), Shape.cast(field.shape).width)
               for name, field in array_command(config))


def resized(value, width):
    """``value`` cut, or extended with zeros, to ``width`` bits."""
    return Cat(value, Const(0, width))[:width]


def plain_product(config, word):
    """``matmul`` as it is."""
    fields = vars(command_fields("matmul", word))
    same = ("act", "halves", "tiles", "height", "tail", "columns", "groups", "dst", "stride",
            "take0", "take1", "raise0", "raise1", "activation")
    return product(config, source=Source.WEIGHTS, **of_format(config, fields["format"]),
                   drain=Mux(fields["drain"] == isa.DRAINS.index("add"), Drain.ADD, Drain.STORE),
                   **{name: fields[name] for name in same})


def of_format(config, number):
    """Fields that follow from the format of a ``matmul``."""
    return chosen_fields({isa.FORMATS.index(name): FORMATS[name] for name in config.formats},
                         number)


def of_kv(config, number, format):
    """Fields that follow from the elements of keys, or of values."""
    return chosen_fields({isa.KV.index(name): format(name) for name in config.kv}, number)


def chosen_fields(formats, number):
    """Fields of the format with this number, among ``formats`` by their numbers."""
    def chosen(field):
        result = Const(0, 1)
        for n, format in formats.items():
            value = format_fields(format)[field]
            result = Mux(number == n, value, result) if len(formats) > 1 else value
        return result
    return {field: chosen(field) for field in format_fields(KEYS)}


def groups(config, fields):
    """Groups of columns of ``attend`` and ``select``."""
    return fields.groups if config.kv_groups > 1 else Const(1)


def is_select(command):
    """Whether a ``Command`` is a ``select``."""
    return command.word[:isa.OPCODE_BITS] == isa.BY_NAME["select"].opcode


def keys_of(config, fields, halves, drain):
    """Scores of 32 keys, for all groups of columns."""
    return product(config, source=Source.KEYS, **of_kv(config, fields.kv, keys), act=fields.act,
                   activation=fields.activation, halves=halves,
                   tiles=config.key_tiles, height=config.key_height, tail=config.key_height,
                   columns=fields.columns, groups=groups(config, fields), drain=drain)


def key_product(config, attend):
    """Scores of the keys of a KV block."""
    return keys_of(config, attend, attend.head_blocks << 1, Drain.SCORES)


def bounds_product(config, select):
    """Scores of a block of bounds: keys of twice the size."""
    return keys_of(config, select, select.head_blocks << 2, Drain.SELECT)


def value_shape(m, config, attend):
    """``tiles`` of values, and rows a slice of the last one, ``tail``."""
    return SimpleNamespace(**{
        name: by_head_blocks(m, config, attend.head_blocks, function, name)
        for name, function in (("tiles", config.value_groups),
                               ("tail", lambda blocks: value_tail(config, blocks)))})


def value_product(config, attend, shape, place, part):
    """32 values, weighted; after the last of them the output leaves."""
    return product(config, source=Source.VALUES, **of_kv(config, attend.kv, values),
                   act=(attend.probability + place)[:len(attend.probability)], halves=2,
                   tiles=shape.tiles, height=Mux(shape.tiles == 1, shape.tail, 16),
                   tail=shape.tail, columns=attend.columns, groups=groups(config, attend),
                   acc=OUTPUT_ROW, acc_step=1, onto=~part.first,
                   drain=Mux(part.last, Drain.STORE, Drain.KEEP), dst=attend.dst,
                   stride=attend.head_blocks, take1=attend.take1, raise0=attend.raise0)
