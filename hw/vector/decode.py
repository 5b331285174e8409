"""Vector instructions as one set of parameters."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw import isa
from hw.signatures import Command, command_fields

from .pieces import shape
from .steps import ENTRY


__all__ = ["parameters", "Decoder"]


#: What an instruction asks for; fields that it lacks are zero.
parameters = data.StructLayout({
    "entry": 5,                           # first step
    "take0": 4, "take1": 4, "raise0": 4, "raise1": 4,
    "dst": 16, "a": 16, "b": 16, "blocks": 12,
    "imm": 32, "period": 12,
    "quantise": 1, "group": 4, "per_vector": 10, "columns": 7, "target": 1,
    "element": 2, "rule": 1, "sign": 2,
    **{key: field.shape for key, field in shape},
    "index": 16, "first": 1, "last": 1,
    "position": 32,                       # counter of the noise
    "periodic": 1,                        # something, a vector, a table or a head, has ``period``
                                          # blocks
    "table": 1,                           # b repeats every period
    "alternate": 1,                       # a and b are alternating blocks
    "vectors": 1,                         # a is vectors of ``period`` blocks: all are taken with
                                          # the first, before b, and raised with the last
})


class Decoder(wiring.Component):
    """Fields of a vector instruction. Combinational.

    Members
    -------
    i : ``In(Command)``
    o : ``Out(parameters)``
    """

    i: In(Command)
    o: Out(parameters)

    def elaborate(self, platform):
        m = Module()
        word = self.i.word
        with m.Switch(word[:isa.OPCODE_BITS]):
            for name in isa.VECTOR_OPS:
                with m.Case(isa.BY_NAME[name].opcode):
                    fields = vars(command_fields(name, word))
                    common = [key for key in fields if key in parameters.members]
                    m.d.comb += [self.o[key].eq(fields[key]) for key in common]
                    m.d.comb += self.o.entry.eq(ENTRY[name])
                    if "b" not in fields and name != "gate":
                        m.d.comb += self.o.take1.eq(0)
                    if name in ("norm", "rope"):
                        m.d.comb += self.o.table.eq(1)
                    if name in ("norm", "rope", "divide"):
                        m.d.comb += self.o.periodic.eq(1)
                    if name == "norm":
                        m.d.comb += self.o.vectors.eq(1)
                    if name == "gate":
                        m.d.comb += [self.o.alternate.eq(1), self.o.b.eq(self.o.a + 1)]
                    if name == "quantise":
                        m.d.comb += [self.o.quantise.eq(1), self.o.b.eq(self.o.a)]
                    if name == "pick":
                        m.d.comb += self.o.position.eq(self.i.count)
                        with m.If(fields["noise"]):
                            m.d.comb += self.o.entry.eq(ENTRY["noise"])
        return m
