"""What a machine executes, by hand; and that the emulator and the reference say the same."""

from dataclasses import replace

import pytest

from hw import isa
from hw import register_map as rm
from hw.config import load
from hw.legality import absent, legal, ranges
from sw.runtime.emulator import Emulator
from verif.reference.sequencer import sequencer


PAGES = replace(load("sim"), columns=8, max_head=64, kv_groups=2, pages=64)
NONE = replace(PAGES, pages=0)

WALK = dict(head_blocks=1, span=1)
ATTEND = dict(head_blocks=1, columns=1, groups=1)
APPEND = dict(head_blocks=1, heads=1)

LEGAL = [
    ("walk", WALK | dict(head_blocks=2)), ("walk", WALK | dict(span=127)),
    ("walk", WALK | dict(window=5, sinks=5)), ("walk", WALK | dict(window=0, sinks=4095)),
    ("walk", WALK | dict(pattern="chosen", page=7)), ("attend", ATTEND | dict(window=5, sinks=4)),
    ("attend", ATTEND | dict(columns=8, groups=2)), ("append", APPEND | dict(head_blocks=2)),
    ("choose", {}),
    ("paging", dict(entries=2**20 - 1)),
]
ILLEGAL = [
    ("walk", WALK | dict(head_blocks=0)), ("walk", WALK | dict(head_blocks=3)),
    ("walk", WALK | dict(span=0)), ("walk", WALK | dict(window=5, sinks=6)),
    ("attend", ATTEND | dict(head_blocks=0)), ("attend", ATTEND | dict(columns=0)),
    ("attend", ATTEND | dict(columns=9)), ("attend", ATTEND | dict(groups=0)),
    ("attend", ATTEND | dict(groups=3)), ("attend", ATTEND | dict(window=1, sinks=2)),
    ("append", APPEND | dict(head_blocks=0)), ("append", APPEND | dict(head_blocks=3)),
    ("walk", WALK | dict(kv="int4")), ("append", APPEND | dict(kv="int4")),
    ("append", APPEND | dict(heads=0)), ("branch", dict(target=PAGES.program)),
]
#: Only if the machine has pages.
OPTIONAL = [
    ("walk", WALK | dict(pattern="bounds")), ("append", APPEND | dict(bounds=1)),
    ("select", ATTEND),
]


def accepted(name, fields, config):
    """Whether the instruction is legal: by the definition, the reference and the emulator."""
    word = isa.encode(name, **fields)
    answer = legal(*isa.decode(word), config)
    end = sequencer([word, isa.encode("stop")], {}, config)[-1]
    assert end == (("stop",) if answer else ("illegal", 0))
    if not answer:
        machine = Emulator(config, memory_bytes=rm.PAGE)
        machine.program([word])
        machine.start()
        machine.run(10)
        assert machine.cause() == rm.Cause.ILLEGAL
    return answer


@pytest.mark.parametrize("config", [PAGES, NONE], ids=["pages", "no pages"])
def test_values_in_range_are_legal_and_others_are_not(config):
    for name, fields in LEGAL:
        assert accepted(name, fields, config), (name, fields)
    for name, fields in ILLEGAL:
        assert not accepted(name, fields, config), (name, fields)


def test_what_chooses_pages_needs_pages():
    for name, fields in OPTIONAL:
        assert accepted(name, fields, PAGES), (name, fields)
        assert not accepted(name, fields, NONE), (name, fields)
    assert absent(NONE) == ("select", "maximum", "minimum") and not absent(PAGES)


def test_what_forwards_needs_a_machine_that_forwards():
    for name, fields in (("walk", WALK | dict(forward=1)), ("attend", ATTEND | dict(heads=31)),
                         ("attend", ATTEND | dict(heads=2, head=1))):
        assert accepted(name, fields, replace(PAGES, forward=1)), (name, fields)
        assert not accepted(name, fields, replace(PAGES, forward=0)), (name, fields)


@pytest.mark.parametrize("config", [PAGES, NONE], ids=["pages", "no pages"])
def test_ranges_name_fields_that_hold_them(config):
    for (name, field), (least, most) in ranges(config).items():
        (bits,) = [f.bits for f in isa.BY_NAME[name].fields if f.name == field]
        assert 0 <= least <= most < 2**bits
