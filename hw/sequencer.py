"""The program: fetch, decode, registers and dispatch."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature, connect, flipped
from amaranth.utils import ceil_log2

from . import isa
from .legality import WINDOWED, absent, ranges
from .protected import ProtectedMemory, clear, memory_error
from .signatures import Command, command_fields, range_command


__all__ = ["Sequencer", "program_write"]


def program_write(config):
    """A host's side of program memory: a quarter of an instruction at a time."""
    return Signature({"en": Out(1), "address": Out(ceil_log2(config.program)),
                      "quarter": Out(2), "data": Out(32)})


class State(enum.Enum, shape=4):
    CLEAR = 0       # registers are zeroed, one a cycle
    FETCH = 1       # after a branch: the instruction leaves program memory
    DECODE = 2      # the instruction is here
    READ = 3        # legality; registers are read; the next instruction leaves program memory
    EXECUTE = 4
    MULTIPLY = 5    # one bit of the factor a cycle
    ENDED = 6


class Sequencer(wiring.Component):
    """Runs the program: control instructions itself, all others by dispatching them.

    There is no numerical reference: :mod:`sw.runtime.emulator` executes the same instructions.

    Latency
    -------
    Three cycles an instruction, one more if it is dispatched, branches, or names a table or a
    range; ``mul`` takes one more for each bit of its factor. More while a queue is full, a result
    is awaited, or the cache is busy.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    program : ``In(program_write(config))``
        Writes to program memory; only while the core is in reset.
    matmul, vector, mover, fetch : ``Out(stream.Signature(Command))``
        Commands with their registers resolved.
    resting : ``In(1)``
        Matmul, vector and mover have nothing queued and nothing to do.
    token, loaded : ``In(stream.Signature(32))``
        Results for ``wait``.
    emitted : ``Out(stream.Signature(32))``
    add_id, add_count, add_en : ``Out``
        To the counters.
    flush_w, flush_d : ``Out(1)``
    table, entries : ``Out(32)``, ``Out(20)``
        Line of the block table, and its entries; 0: there is none. They change only while what
        uses the table rests, which is the program's duty.
    ranges : ``Out(stream.Signature(range_command(config)))``
        To the cache.
    cycle : ``In(32)``
        For ``wait cycle``.
    done : ``Out(1)``
        The program has ended.
    illegal : ``Out(1)``
        The instruction at ``pc`` is illegal; nothing more is dispatched.
    pc : ``Out``
        Instruction being executed.
    retired : ``Out(1)``
        An instruction ended in this cycle.
    clear : ``In``
        ``en``, ``address``: an instruction of program memory becomes zero.
    error : ``Out(memory_error(config.program))``
        Of program memory; with two wrong bits only of the instruction at ``pc``, which is then not
        executed, and is no ``illegal`` one.
    """

    def __init__(self, config):
        self.config = config
        self.parameters = (config,)
        super().__init__({
            "program": In(program_write(config)),
            **{unit: Out(stream.Signature(Command)) for unit in isa.UNITS if unit != "control"},
            "resting": In(1), "cycle": In(32),
            "token": In(stream.Signature(32)), "loaded": In(stream.Signature(32)),
            "emitted": Out(stream.Signature(32)),
            "add_id": Out(4), "add_count": Out(10), "add_en": Out(1),
            "flush_w": Out(1), "flush_d": Out(1), "table": Out(32), "entries": Out(20),
            "ranges": Out(stream.Signature(range_command(config))),
            "done": Out(1), "illegal": Out(1), "retired": Out(1),
            "pc": Out(ceil_log2(config.program)),
            "clear": In(clear(ceil_log2(config.program))),
            "error": Out(memory_error(config.program)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        # Program memory: four quarters, so that the host needs no read-modify-write.
        m.submodules.memory = memory = ProtectedMemory(
            isa.WORD_BITS, config.program, granule=32, ecc=config.ecc)
        if config.ecc:
            connect(m, flipped(self.clear), memory.clear)
        m.d.comb += [
            memory.write.address.eq(self.program.address),
            memory.write.en.eq(self.program.en << self.program.quarter),
            memory.write.data.eq(self.program.data.replicate(4)),
            memory.read.en.eq(1),
        ]

        m.submodules.registers = registers = Memory(shape=32, depth=isa.REGISTERS, init=[])
        put = registers.write_port()
        get_a, get_b = registers.read_port(domain="comb"), registers.read_port(domain="comb")

        state, broken = Signal(State), Signal()
        m.d.comb += [
            # What comes behind the instruction is read too, but may never be executed.
            broken.eq(memory.error.double & (state == State.READ)),
            self.error.single.eq(memory.error.single), self.error.double.eq(broken),
            self.error.address.eq(memory.error.address),
        ]
        word, a, b = Signal(isa.WORD_BITS), Signal(32), Signal(32)
        opcode, fetched = word[:isa.OPCODE_BITS], memory.read.data
        clear, next_pc, factor = Signal(range(isa.REGISTERS)), Signal.like(self.pc), Signal(32)
        m.d.comb += [
            get_a.addr.eq(self._register(m, word, ("ra", "offset"))),
            get_b.addr.eq(self._register(m, word, ("rb", "count"))),
            next_pc.eq(self.pc + 1),
            memory.read.address.eq(Mux(state == State.FETCH, self.pc, next_pc)),
        ]
        legal = Signal()
        m.d.comb += legal.eq(self._legal(word))
        rd = Signal(4)
        m.d.comb += rd.eq(self._register(m, word, ("rd",)))
        # The address of memory is a cycle late.
        base, address, settled = self._select(m, word, "base", 32), Signal(32), Signal()
        m.d.sync += [address.eq(a + base), settled.eq(state == State.EXECUTE)]

        def result(value):
            return [put.en.eq(rd != 0), put.addr.eq(rd), put.data.eq(value)]

        def retire():
            return [self.pc.eq(next_pc), state.eq(State.DECODE)]

        m.d.comb += self.retired.eq(0)
        with m.Switch(state):
            with m.Case(State.CLEAR):
                m.d.comb += [put.en.eq(1), put.addr.eq(clear)]
                m.d.sync += clear.eq(clear + 1)
                with m.If(clear == isa.REGISTERS - 1):
                    m.d.sync += state.eq(State.FETCH)
            with m.Case(State.FETCH):
                m.d.sync += state.eq(State.DECODE)
            with m.Case(State.DECODE):
                m.d.sync += [word.eq(fetched), state.eq(State.READ)]
            with m.Case(State.READ):
                m.d.sync += [
                    a.eq(get_a.data), b.eq(get_b.data), self.illegal.eq(~legal & ~broken),
                    state.eq(Mux(legal & ~broken, State.EXECUTE, State.ENDED)),
                ]
            with m.Case(State.EXECUTE):
                finished = Signal()
                m.d.comb += self.retired.eq(finished)
                with m.If(finished):
                    m.d.sync += retire()
                self._execute(m, word, a, b, result, finished, state, factor)
                with m.If(settled & (opcode == isa.BY_NAME["paging"].opcode)):
                    m.d.comb += finished.eq(1)
                    m.d.sync += [self.table.eq(address),
                                 self.entries.eq(command_fields("paging", word).entries)]
                if config.cache:
                    self._change_ranges(m, word, opcode, settled, address, finished)
            with m.Case(State.MULTIPLY):
                # b holds the product, a the shifted factor.
                m.d.sync += [factor.eq(factor >> 1), a.eq(a << 1)]
                with m.If(factor[0]):
                    m.d.sync += b.eq(b + a)
                with m.If(factor == 0):
                    m.d.comb += [*result(b), self.retired.eq(1)]
                    m.d.sync += retire()
            with m.Default():
                pass

        # Dispatch: the unit of the opcode gets the word and its registers' values.
        command = Signal(Command)
        m.d.comb += [command.word.eq(word), command.count.eq(b), command.address.eq(address)]
        for unit in ("matmul", "vector", "mover", "fetch"):
            port = getattr(self, unit)
            mine = [i.opcode for i in isa.INSTRUCTIONS if i.unit == unit]
            chosen = Signal(name=f"is_{unit}")
            with m.Switch(opcode):
                with m.Case(*mine):
                    m.d.comb += chosen.eq(state == State.EXECUTE)
            m.d.comb += [port.payload.eq(command), port.valid.eq(chosen & settled)]
            with m.If(port.valid & port.ready):
                m.d.comb += self.retired.eq(1)
                m.d.sync += [*retire(), settled.eq(0)]
        return m

    def _execute(self, m, word, a, b, result, finished, state, factor):
        """Control instructions; each sets ``finished`` in its last cycle."""
        def case(name):
            return m.Case(isa.BY_NAME[name].opcode), command_fields(name, word)

        with m.Switch(word[:isa.OPCODE_BITS]):
            context, _ = case("stop")
            with context:
                with m.If(self.resting):
                    m.d.comb += self.retired.eq(1)
                    m.d.sync += [self.done.eq(1), state.eq(State.ENDED)]
            context, f = case("set")
            with context:
                m.d.comb += [*result(f.imm), finished.eq(1)]
            context, f = case("add")
            with context:
                m.d.comb += [*result(a + b + f.imm), finished.eq(1)]
            context, f = case("mul")
            with context:
                m.d.sync += [factor.eq(f.imm), b.eq(0), state.eq(State.MULTIPLY)]
            context, f = case("branch")
            with context:
                condition = Signal()
                with m.Switch(f.condition):
                    for n, outcome in enumerate((a == b, a != b, a < b, a >= b)):
                        with m.Case(n):
                            m.d.comb += condition.eq(outcome)
                m.d.comb += self.retired.eq(1)
                m.d.sync += [state.eq(State.FETCH),
                             self.pc.eq(Mux(condition, f.target, self.pc + 1))]
            context, f = case("wait")
            with context:
                with m.Switch(f.source):
                    for n, source in enumerate((self.token, self.loaded)):
                        with m.Case(n):
                            m.d.comb += source.ready.eq(1)
                            with m.If(source.valid):
                                m.d.comb += [*result(source.payload), finished.eq(1)]
                    with m.Default():
                        m.d.comb += [*result(self.cycle), finished.eq(1)]
            context, _ = case("emit")
            with context:
                m.d.comb += [self.emitted.valid.eq(1), self.emitted.payload.eq(a),
                             finished.eq(self.emitted.ready)]
            context, f = case("raise")
            with context:
                m.d.comb += [self.add_id.eq(f.counter), self.add_count.eq(f.count),
                             self.add_en.eq(1), finished.eq(1)]
            context, _ = case("sync")
            with context:
                m.d.comb += finished.eq(self.resting)
            context, f = case("flush")
            with context:
                m.d.comb += [self.flush_w.eq(f.w), self.flush_d.eq(f.d), finished.eq(1)]

    def _change_ranges(self, m, word, opcode, settled, address, finished):
        """``pin`` and ``drop``, which the cache executes."""
        pin, command = command_fields("pin", word), self.ranges.p
        is_pin = opcode == isa.BY_NAME["pin"].opcode
        with m.If(settled & (is_pin | (opcode == isa.BY_NAME["drop"].opcode))):
            m.d.comb += [self.ranges.valid.eq(1), finished.eq(self.ranges.ready)]
        m.d.comb += [
            # Both name the slot in the same bits.
            command.slot.eq(pin.slot), command.live.eq(is_pin), command.preload.eq(pin.preload),
            command.first.eq(address), command.lines.eq(pin.lines), command.place.eq(pin.place),
        ]

    @staticmethod
    def _select(m, word, field, bits):
        """The field of this name, wherever the instruction at hand has it."""
        value = Signal(bits, name=f"field_{field}")
        with m.Switch(word[:isa.OPCODE_BITS]):
            for instruction in isa.INSTRUCTIONS:
                if field in instruction.offsets:
                    with m.Case(instruction.opcode):
                        offset = instruction.offsets[field]
                        m.d.comb += value.eq(word[offset:offset + bits])
        return value

    @staticmethod
    def _register(m, word, names):
        """Number of the register that the instruction names in one of the fields ``names``."""
        number = Signal(4, name=f"register_{names[0]}")
        with m.Switch(word[:isa.OPCODE_BITS]):
            for instruction in isa.INSTRUCTIONS:
                for name in names:
                    if name in instruction.offsets:
                        with m.Case(instruction.opcode):
                            offset = instruction.offsets[name]
                            m.d.comb += number.eq(word[offset:offset + 4])
        return number

    def _legal(self, word):
        """Opcode known, unused bits zero, choices among the names, formats in the machine, and
        what :mod:`hw.legality` says."""
        config = self.config
        legal, names, limits = [], config.names, ranges(config)
        for instruction in isa.INSTRUCTIONS:
            if instruction.name in absent(config):
                continue
            used = isa.OPCODE_BITS + sum(field.bits for field in instruction.fields)
            terms = (word[:isa.OPCODE_BITS] == instruction.opcode) & ~word[used:].any()
            fields = command_fields(instruction.name, word)
            for field in instruction.fields:
                value, most = getattr(fields, field.name), 2**field.bits - 1
                if field.choices:
                    most = len(field.choices) - 1
                least, most = limits.get((instruction.name, field.name), (0, most))
                if least:
                    terms &= value >= least
                if most < 2**field.bits - 1:
                    terms &= value <= most
                if field.name in names:
                    terms &= reduce(or_, (value == field.choices.index(name)
                                          for name in names[field.name]))
            if instruction.name in WINDOWED:
                terms &= (fields.window == 0) | (fields.sinks <= fields.window)
            if instruction.name == "matmul":
                for format, activation in config.refused:
                    terms &= ~((fields.format == isa.FORMATS.index(format))
                               & (fields.activation == isa.ACTIVATIONS.index(activation)))
            legal.append(terms)
        return reduce(or_, legal)
