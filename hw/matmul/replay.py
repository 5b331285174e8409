"""Keeps the beats of a tile for the other groups of columns."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.signatures import beat

from .layouts import replay_command, tile_beat


__all__ = ["Replay"]


class Replay(wiring.Component):
    """Gives each tile ``groups`` times: once as it comes, then from memory.

    Latency
    -------
    None from ``i`` to ``o``.

    Throughput
    ----------
    One beat each cycle, with no gap between the groups of a tile (one after a tile of a single
    beat), nor between tiles. ``i.ready`` depends on ``o.ready``, and ``o.valid`` on ``i.valid``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    depth : int
        Beats of the longest tile that is given more than once.

    Members
    -------
    commands : ``In(stream.Signature(replay_command))``
    i : ``In(stream.Signature(tile_beat))``
    o : ``Out(stream.Signature(beat))``
    """

    def __init__(self, config, depth):
        self.config = config
        self.depth  = depth
        super().__init__({
            "commands": In(stream.Signature(replay_command)),
            "i": In(stream.Signature(tile_beat(config))),
            "o": Out(stream.Signature(beat(config))),
        })

    def elaborate(self, platform):
        m = Module()

        # Control.
        active, again, waiting = Signal(), Signal(), Signal()
        groups, left, tiles = Signal(8), Signal(8), Signal(12)
        address = Signal(ceil_log2(self.depth))
        end     = Signal.like(address)
        transfer, tile_ends = Signal(), Signal()
        m.d.comb += [
            self.o.valid.eq(Mux(again, ~waiting, active & self.i.valid)),
            self.i.ready.eq(active & ~again & self.o.ready),
            transfer.eq(self.o.valid & self.o.ready),
            tile_ends.eq(Mux(again, address == end, self.i.p.last)),
        ]
        m.d.sync += waiting.eq(0)
        with m.If(transfer):
            m.d.sync += address.eq(Mux(tile_ends, 0, address + 1))
            with m.If(~again):
                m.d.sync += end.eq(address)
            with m.If(tile_ends):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.sync += [again.eq(0), left.eq(groups), tiles.eq(tiles - 1)]
                with m.Elif(~again):
                    # The only beat of a tile cannot be read in the cycle in which it is written.
                    m.d.sync += [again.eq(1), waiting.eq(address == 0)]

        fetch = Signal()
        m.d.comb += [
            fetch.eq(~active | (transfer & tile_ends & (left == 0) & (tiles == 0))),
            self.commands.ready.eq(fetch),
        ]
        with m.If(fetch):
            m.d.sync += [
                active.eq(self.commands.valid),
                groups.eq(self.commands.p.groups - 1), left.eq(self.commands.p.groups - 1),
                tiles.eq(self.commands.p.tiles - 1),
            ]

        # Data: memory shows the beat at ``address`` whenever it is needed.
        fields = beat(self.config)
        m.submodules.memory = memory = Memory(shape=fields.size, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        ahead = Signal.like(address)
        m.d.comb += [
            ahead.eq(Mux(transfer, Mux(tile_ends, 0, address + 1), address)),
            write.addr.eq(address), write.data.eq(self.i.p.beat.as_value()),
            write.en.eq(transfer & ~again & (left != 0)),
            read.addr.eq(Mux(again, ahead, 0)),
            self.o.payload.eq(Mux(again, read.data, self.i.p.beat.as_value())),
        ]
        return m
