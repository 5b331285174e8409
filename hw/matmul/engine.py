"""The matrix engine: array, its sequencer, and its drain."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.formats import FORMATS, keys
from hw.memory.queue import Queue
from hw.signatures import (
    Raise,
    Source,
    Take,
    act_write,
    array_command,
    beat,
    row_read,
    row_write,
    scores,
)

from .array import Array
from .drain import DrainUnit
from .layouts import EVENTS, replay_command, tile_beat, unpack_command
from .replay import Replay
from .sequencer import ArraySequencer
from .timing import Timing
from .unpacker import Unpacker


__all__ = ["MatmulEngine"]


#: Commands that wait, of which unpackers may already work on the first.
QUEUE = 2

#: Matrices whose factors are known before their sums are drained.
MATRICES = 4


class MatmulEngine(wiring.Component):
    """Products of the activations that columns hold with weights, keys or values.

    The numerical reference is :func:`verif.reference.matmul.matmul`; section 3 of interfaces.md
    says in which order beats come and sums go.

    With more than one of ``groups`` the beats of a tile, without those of scales, must fit the
    replay buffer: that of weights, or that of keys, which ``kv_groups`` above 1 asks for. Values
    come as often as there are groups.

    Throughput
    ----------
    One beat each cycle, and an idle cycle between commands; see
    :class:`hw.matmul.sequencer.ArraySequencer`. Beats of scales cost a cycle each while they come
    from ``w``, but none if as many beats came while the array waited for something else, or gave a
    tile again, up to ``config.beats_ahead``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(array_command))``
    w, keys : ``In(stream.Signature(8 * config.beat_bytes))``
        Tape of the weights; keys, as section 4 lays them out.
    values : ``In(stream.Signature(beat))``
        Values, turned.
    act : ``In(stream.Signature(act_write))``
        Activations, always accepted. A block that is taken a cycle later meets them.
    read : ``Out(row_read)``, ``write`` : ``Out(stream.Signature(row_write))``
        The workspace.
    scores : ``Out(stream.Signature(scores))``
    take0, take1 : ``Take``
        For each activation block, in the first tile; for each block of the workspace, before it is
        read or written.
    raise0, raise1 : ``Raise``
        For each block written that counts; for each activation block, in the last tile.
    busy : ``Out(1)``
        A command, a beat or a job is under way.
    events : ``Out(EVENTS)``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "commands": In(stream.Signature(array_command(config))),
            "w": In(stream.Signature(8 * config.beat_bytes)),
            "keys": In(stream.Signature(8 * config.beat_bytes)),
            "values": In(stream.Signature(beat(config))),
            "act": In(stream.Signature(act_write(config))),
            "read": Out(row_read(config)),
            "write": Out(stream.Signature(row_write(config))),
            "scores": Out(stream.Signature(scores(config))),
            "take0": Out(Take), "take1": Out(Take),
            "raise0": Out(Raise), "raise1": Out(Raise),
            "busy": Out(1), "events": Out(EVENTS),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.unpacker     = unpacker     = Unpacker(config, [FORMATS[name]
                                                              for name in config.formats])
        m.submodules.key_unpacker = key_unpacker = Unpacker(config, [keys(name)
                                                                     for name in config.kv])
        m.submodules.replay       = replay       = Replay(config,
                                                          config.replay // config.beat_bytes)
        m.submodules.sequencer    = sequencer    = ArraySequencer(config)
        m.submodules.array        = array        = Array(config)
        m.submodules.drain        = drain        = DrainUnit(config, array.read_latency)

        key_beats, key_parts = key_unpacker.o, []
        if config.kv_groups > 1:
            m.submodules.key_replay = key_replay = Replay(config, config.key_replay)
            connect(m, key_unpacker.o, key_replay.i)
            key_beats = key_replay.o
            key_parts = [("key_replay", key_replay, replay_command)]

        # A command goes to all that have a part in it.
        c = self.commands.p
        waits = {}
        for name, part, shape, concerned in (
                ("sequencer", sequencer, array_command(config), 1),
                ("unpacker", unpacker, unpack_command, c.source == Source.WEIGHTS),
                ("replay", replay, replay_command, c.source == Source.WEIGHTS),
                ("key_unpacker", key_unpacker, unpack_command, c.source == Source.KEYS),
                *((*part, c.source == Source.KEYS) for part in key_parts)):
            m.submodules[f"{name}_queue"] = queue = Queue(shape, QUEUE)
            connect(m, queue.o, part.commands)
            m.d.comb += [queue.i.p[key].eq(c[key]) for key, _ in shape]
            waits[name] = queue, Signal(name=f"{name}_concerned")
            m.d.comb += waits[name][1].eq(concerned)
        m.d.comb += self.commands.ready.eq(
            Cat(queue.i.ready | ~concerned for queue, concerned in waits.values()).all())
        for queue, concerned in waits.values():
            m.d.comb += queue.i.valid.eq(self.commands.valid & self.commands.ready & concerned)

        # Beats.
        connect(m, flipped(self.w), unpacker.i)
        connect(m, flipped(self.keys), key_unpacker.i)
        m.submodules.ahead = ahead = Queue(tile_beat(config), config.beats_ahead)
        connect(m, unpacker.o, ahead.i)
        connect(m, ahead.o, replay.i)
        connect(m, flipped(self.values), sequencer.values)
        # Queues, so that what the sequencer decides does not run back through all the others.
        for name, source in (("weights", replay.o), ("keys", key_beats)):
            m.submodules[f"{name}_queue"] = queue = Queue(beat(config), QUEUE)
            connect(m, queue.o, getattr(sequencer, name))
            m.d.comb += [queue.i.valid.eq(source.valid), source.ready.eq(queue.i.ready)]
            m.d.comb += queue.i.payload.eq(source.p.beat if source is key_unpacker.o
                                           else source.payload)
        m.d.comb += array.issue.eq(sequencer.issue)
        connect(m, flipped(self.act), array.act)

        # Sums.
        m.d.comb += [
            sequencer.done.eq(array.done),
            sequencer.drained.eq(drain.drained),
            array.drain.eq(drain.drain),
            *(into.eq(result) for into, result in zip(drain.result, array.result)),
        ]
        connect(m, sequencer.jobs, drain.jobs)
        m.submodules.factors = factors = Queue(32, MATRICES)
        connect(m, unpacker.factors, factors.i)
        connect(m, factors.o, drain.factors)
        for part, names in ((sequencer, ("take0", "raise1")),
                            (drain, ("read", "write", "scores", "take1", "raise0"))):
            for name in names:
                connect(m, getattr(part, name), flipped(getattr(self, name)))

        # Beats are under way until the last column has their sums.
        longest = Timing(config).write + config.columns + 2
        flight  = Signal(range(longest + 1))
        with m.If(sequencer.issue.valid):
            m.d.sync += flight.eq(longest)
        with m.Elif(flight != 0):
            m.d.sync += flight.eq(flight - 1)
        m.d.comb += [
            self.events.eq(sequencer.events),
            self.busy.eq(self.commands.valid | sequencer.commands.valid | sequencer.busy
                         | sequencer.issue.valid | (flight != 0) | drain.busy),
        ]
        return m
