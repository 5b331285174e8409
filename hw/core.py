"""The core: units, queues and counters, joined."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from . import register_map as rm
from .attention.engine import AttentionEngine
from .attention.selector import Selector
from .errors import Errors, errors
from .matmul.engine import MatmulEngine
from .memory.cache import cache_events
from .memory.dma import Dma
from .memory.queue import Queue
from .protected import clear
from .semaphores import Semaphores
from .sequencer import Sequencer, program_write
from .signatures import Command, read_data, read_request, write_data
from .vector.unit import VectorUnit
from .workspace import Workspace


__all__ = ["Core", "core_events"]


#: What happened in a cycle, for the counters.
core_events = data.StructLayout({
    "busy": 1, "memory": 1, "dependency": 1,            # of the array; all low: it had no command
    "active": 1,                                        # any other unit was at work
    "w": 1, "d": 1, "gather": 1, "written": 1,          # words of memory moved
    "cache": cache_events,
    "retired": 1,                                       # an instruction
    "nan": 1,                                           # a quantised group with a NaN or infinity
})


class Core(wiring.Component):
    """Everything that is reset between runs.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    program : ``In(program_write(config))``
        Writes to program memory; it keeps its contents in reset.
    reads, data, writes, written : ``Out``, ``In``, ``Out``, ``In``
        To the memory port.
    emitted : ``Out(stream.Signature(32))``
        Values for the host.
    seed : ``In(64)``
        Key of the random numbers.
    cycle : ``In(32)``
        Cycles since the start.
    done, illegal, overflow : ``Out(1)``
        The program ended; its instruction is illegal; a counter ran over.
    table_fault, choice_fault, range_fault : ``Out(1)``
        A KV block beyond the block table; a list of pages that is not ascending, or a choice among
        more pages than the machine keeps scores of; an illegal range of the cache.
    pc : ``Out``
        Instruction being executed.
    events : ``Out(core_events)``
    clear : ``In``, with ``config.ecc``
        ``en``, ``address``: a word of program memory and workspace becomes zero; in reset.
    errors : ``Out(errors(places))``, with ``config.ecc``
        What its memories found.
    """

    def __init__(self, config):
        self.config = config
        self.parameters = (config,)
        #: Memories with check bits.
        self.places = (rm.Place.PROGRAM, rm.Place.WORKSPACE_A, rm.Place.WORKSPACE_B,
                       *(config.beat_words if config.cache else 0) * (rm.Place.CACHE,))
        program = program_write(config)
        super().__init__({
            "program": In(program),
            "reads": Out(stream.Signature(read_request(config))),
            "data": In(stream.Signature(read_data(config))),
            "writes": Out(stream.Signature(write_data(config))),
            "written": In(1),
            "emitted": Out(stream.Signature(32)),
            "seed": In(64), "cycle": In(32),
            "done": Out(1), "illegal": Out(1), "overflow": Out(1),
            "table_fault": Out(1), "choice_fault": Out(1), "range_fault": Out(1),
            "pc": Out(program.members["address"].shape),
            "events": Out(core_events),
            **({"clear": In(clear(ceil_log2(config.clear_cycles))),
                "errors": Out(errors(self.places))}
               if config.ecc else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.attention = attention = AttentionEngine(config)
        m.submodules.matmul = matmul = MatmulEngine(config)
        m.submodules.vector = vector = VectorUnit(config)
        m.submodules.dma = dma = Dma(config)
        m.submodules.workspace = workspace = Workspace(config)

        # Commands. The fetch unit has queues of its own, one for each stream. Fields go a long way,
        # to the counters and back, and so come from registers.
        queues = {}
        for unit, target in (("matmul", attention.commands), ("vector", vector.commands),
                             ("mover", dma.mover)):
            m.submodules[f"{unit}_queue"] = queue = Queue(Command, config.queue, registered=True)
            connect(m, getattr(sequencer, unit), queue.i)
            connect(m, queue.o, target)
            queues[unit] = queue
        connect(m, sequencer.fetch, dma.fetch)
        connect(m, sequencer.ranges, dma.ranges)
        connect(m, attention.array, matmul.commands)

        # Streams from memory.
        connect(m, dma.w, matmul.w)
        connect(m, dma.d, attention.d)
        connect(m, dma.parts, attention.parts)
        connect(m, attention.keys, matmul.keys)
        connect(m, attention.values, matmul.values)
        if config.forward:
            connect(m, attention.staged, dma.staged)

        # Activations: the quantiser first, it never waits long for the softmax.
        self._merge(m, matmul.act, vector.act, attention.act)
        connect(m, matmul.scores, attention.scores)
        connect(m, attention.sums, vector.sums)
        m.d.comb += [attention.array_busy.eq(matmul.busy), dma.staging.eq(vector.staging)]

        # Workspace.
        connect(m, vector.a, workspace.a)
        connect(m, vector.b, workspace.b)
        connect(m, vector.write, workspace.write)
        connect(m, matmul.read, workspace.drain_read)
        connect(m, matmul.write, workspace.drain_write)
        connect(m, dma.read, workspace.mover_read)
        connect(m, dma.write, workspace.mover_write)

        # Counters.
        takes = (matmul.take0, matmul.take1, attention.take0, vector.take0, vector.take1,
                 dma.take0, dma.walk_take)
        raises = (matmul.raise0, matmul.raise1, attention.raise1, vector.raise0, vector.raise1,
                  dma.raise0, dma.raise1)
        m.submodules.semaphores = semaphores = Semaphores(len(takes), len(raises))
        for n, port in enumerate(takes):
            connect(m, port, semaphores.take[n])
        for n, port in enumerate(raises):
            connect(m, port, semaphores.raise_[n])
        m.d.comb += [
            semaphores.add_id.eq(sequencer.add_id), semaphores.add_en.eq(sequencer.add_en),
            semaphores.add_count.eq(sequencer.add_count),
            self.overflow.eq(semaphores.overflow),
        ]

        # Results for the program, and its end.
        connect(m, vector.token, sequencer.token)
        connect(m, dma.loaded, sequencer.loaded)

        # Pages for walks that are chosen by their bounds.
        choice_fault, choosing = Signal(), Signal()
        m.d.comb += choice_fault.eq(dma.choice_fault)
        if config.pages:
            m.submodules.selector = selector = Selector(config)
            connect(m, attention.bounds, selector.jobs)
            connect(m, attention.bounds_scores, selector.scores)
            connect(m, selector.choices, dma.choices)
            m.d.comb += [choice_fault.eq(dma.choice_fault | selector.fault),
                         choosing.eq(selector.busy)]
        connect(m, sequencer.emitted, flipped(self.emitted))
        connect(m, flipped(self.program), sequencer.program)
        waiting = Cat(queue.level.any() for queue in queues.values())
        resting = Signal()
        m.d.comb += [
            resting.eq(~(waiting.any() | attention.busy | matmul.busy | vector.busy
                         | dma.mover_busy)),
            sequencer.resting.eq(resting), sequencer.cycle.eq(self.cycle),
            dma.flush_w.eq(sequencer.flush_w), dma.flush_d.eq(sequencer.flush_d),
            attention.flush.eq(sequencer.flush_d),
            dma.table.eq(sequencer.table), dma.entries.eq(sequencer.entries),
            vector.seed.eq(self.seed),
            self.table_fault.eq(dma.table_fault | dma.append_fault),
            self.choice_fault.eq(choice_fault), self.range_fault.eq(dma.range_fault),
            self.done.eq(sequencer.done), self.illegal.eq(sequencer.illegal),
            self.pc.eq(sequencer.pc),
        ]

        if config.ecc:
            self._protect(m, sequencer, workspace, dma)

        # Memory.
        connect(m, dma.reads, flipped(self.reads))
        connect(m, flipped(self.data), dma.data)
        connect(m, dma.writes, flipped(self.writes))
        m.d.comb += dma.written.eq(self.written)

        m.d.comb += [
            self.events.busy.eq(matmul.events.busy),
            self.events.memory.eq(matmul.events.memory),
            self.events.dependency.eq(matmul.events.dependency),
            self.events.active.eq(vector.busy | dma.mover_busy | attention.busy | matmul.busy
                                  | choosing),
            self.events.w.eq(dma.events.w), self.events.d.eq(dma.events.d),
            self.events.gather.eq(dma.events.gather), self.events.written.eq(dma.events.written),
            self.events.cache.eq(dma.events.cache),
            self.events.retired.eq(sequencer.retired), self.events.nan.eq(vector.nan),
        ]
        return m

    def _protect(self, m, sequencer, workspace, dma):
        """What memories with check bits need, and what they find."""
        m.submodules.collector = collector = Errors(self.places)
        connect(m, collector.o, flipped(self.errors))
        sources = sequencer.error, *workspace.errors, *(dma.cache_errors if self.config.cache
                                                        else ())
        for port, found in zip(collector.i, sources, strict=True):
            m.d.comb += [port.single.eq(found.single), port.double.eq(found.double),
                         port.address.eq(found.address)]
        for port, depth in ((sequencer.clear, self.config.program),
                             (workspace.clear, self.config.rows)):
            m.d.comb += [port.address.eq(self.clear.address),
                         port.en.eq(self.clear.en & (self.clear.address < depth))]

    @staticmethod
    def _merge(m, target, first, second):
        """Two streams onto one; a payload that was offered stays until it is taken."""
        held = Signal()     # the second is being offered
        choose = Signal()
        m.d.comb += [
            choose.eq(held | ~first.valid),
            target.payload.eq(Mux(choose, second.payload, first.payload)),
            target.valid.eq(Mux(choose, second.valid, first.valid)),
            first.ready.eq(target.ready & ~choose), second.ready.eq(target.ready & choose),
        ]
        m.d.sync += held.eq(choose & second.valid & ~target.ready)
