"""Takes products apart into beats, each with what becomes of it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.formats import ScaleKind
from hw.signatures import Drain, Raise, Source, Take, array_command, beat

from .hazard import Hazard
from .jobs import JobQueue
from .layouts import BANKS, EVENTS, TILE_ROWS, bank_after, issue
from .layouts import job as job_shape


__all__ = ["ArraySequencer"]


class ArraySequencer(wiring.Component):
    """Issues the beats of a product: for each tile, group, block, row and half.

    A pass is a tile with one group of columns. Its sums go to one of the banks, and a job tells the
    drain what to do with them. A pass waits with its last block until a bank is free.

    Latency
    -------
    Two cycles from a command to its first beat in ``issue``.

    Throughput
    ----------
    One beat each cycle, and one idle cycle between commands; no beat while

    * no beat has come, or no block of activations (``take0``, on the first tile),
    * all banks wait to be drained,
    * an accumulator would be read before it is written: blocks of fewer than ``Timing.loop`` beats
      are spread.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(array_command))``
    weights, keys, values : ``In(stream.Signature(beat))``
        Beats, by source. ``ready`` depends on ``valid``, and on ``take0.ok``.
    issue : ``Out(issue)``
        To the array.
    done : ``In(1)``
        From the array: the sums of a pass may soon be read.
    jobs : ``Out(stream.Signature(job))``
        Finished passes, to the drain.
    drained : ``In(1)``
        The drain has read a bank.
    take0 : ``Take``
        Taken once for each activation block, in the first tile.
    raise1 : ``Raise``
        Raised once for each activation block, in the last tile.
    busy : ``Out(1)``
        A command or a job is under way.
    events : ``Out(EVENTS)``
    """

    def __init__(self, config):
        self.config = config
        beats = stream.Signature(beat(config))
        super().__init__({
            "commands": In(stream.Signature(array_command(config))),
            "weights": In(beats), "keys": In(beats), "values": In(beats),
            "issue": Out(issue(config)),
            "done": In(1),
            "jobs": Out(stream.Signature(job_shape(config))),
            "drained": In(1),
            "take0": Out(Take), "raise1": Out(Raise),
            "busy": Out(1), "events": Out(EVENTS),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        c      = Signal(array_command(config))
        active = Signal()

        # Where the product is. Everything counts down but for the row.
        tiles, groups, blocks = Signal(12), Signal(8), Signal(12)
        row, lines, half      = Signal(5), Signal(5), Signal()
        lower = Signal()             # bytes of 16 bits come
        first_tile, first_block = Signal(), Signal()
        act = Signal.like(c.act)
        acc_tile, acc_base = Signal.like(c.acc), Signal.like(c.acc)     # of group 0; of this one
        first_pass = Signal()
        last_tile, last_group, last_block = Signal(), Signal(), Signal()
        last_row, last_half, last_byte = Signal(), Signal(), Signal()
        m.d.comb += [
            last_tile.eq(tiles == 1), last_group.eq(groups == 1), last_block.eq(blocks == 1),
            last_row.eq(row == lines - 1), last_byte.eq(1),
            last_half.eq((half | (last_block & c.halves[0])) & last_byte),
        ]
        if config.having("double"):
            m.d.comb += last_byte.eq(lower | ~c.double)
        height = Signal(5)
        m.d.comb += height.eq(Mux(c.four, lines << 1, lines))

        # What a beat waits for.
        valid, go = Signal(), Signal()
        starts_block = Signal()
        have_act, have_bank = Signal(), Signal()
        m.submodules.hazard = hazard = Hazard(config)
        to_bank, banks, bank = Signal(), Signal(range(BANKS + 1)), Signal(range(BANKS))
        with m.Switch(c.source):
            for source, beats in ((Source.WEIGHTS, self.weights), (Source.KEYS, self.keys),
                                  (Source.VALUES, self.values)):
                with m.Case(source):
                    m.d.comb += [valid.eq(beats.valid), beats.ready.eq(go)]
                    m.d.sync += self.issue.beat.eq(beats.payload)
        m.d.comb += [
            starts_block.eq((row == 0) & ~half & ~lower),
            to_bank.eq(c.drain != Drain.KEEP),
            self.take0.id.eq(c.take0),
            have_act.eq(~(starts_block & first_tile) | self.take0.ok),
            have_bank.eq(~(starts_block & last_block & to_bank) | (banks != BANKS)),
            go.eq(active & valid & have_act & have_bank & hazard.clear),
            self.take0.take.eq(go & starts_block & first_tile & (c.take0 != 0)),
            self.events.busy.eq(go),
            self.events.memory.eq(active & ~valid),
            self.events.dependency.eq(active & valid & ~(have_act & have_bank)),
        ]
        ends_block, ends_pass, ends_tile, ends_all = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            ends_block.eq(go & last_half & last_row), ends_pass.eq(ends_block & last_block),
            ends_tile.eq(ends_pass & last_group), ends_all.eq(ends_tile & last_tile),
        ]
        m.d.sync += banks.eq(banks + (go & starts_block & last_block & to_bank) - self.drained)
        m.d.comb += [
            hazard.beat.eq(go), hazard.kept.eq(c.acc >= TILE_ROWS), hazard.lines.eq(lines),
            hazard.double.eq(c.double if config.having("double") else 0),
            hazard.ends_block.eq(ends_block & ~last_block),
            hazard.next_is_half.eq((blocks == 2) & c.halves[0]),
            hazard.joins.eq(c.onto & starts_block & first_block & (first_pass | ~c.acc_step)),
        ]

        # The next beat.
        with m.If(go):
            m.d.sync += [lower.eq(~last_byte), half.eq((half | last_byte) & ~last_half)]
            with m.If(last_half):
                m.d.sync += row.eq(row + 1)
        with m.If(ends_block):
            m.d.sync += [row.eq(0), act.eq(act + 1), blocks.eq(blocks - 1), first_block.eq(0)]
        with m.If(ends_pass):
            m.d.sync += [
                groups.eq(groups - 1), first_block.eq(1),
                blocks.eq((c.halves + 1) >> 1), bank.eq(Mux(to_bank, bank_after(bank), bank)),
                first_pass.eq(0),
            ]
            if config.kv_groups > 1:
                with m.If(c.acc_step):
                    m.d.sync += acc_base.eq(acc_base + config.output_rows)
        with m.If(ends_tile):
            m.d.sync += [
                tiles.eq(tiles - 1), groups.eq(c.groups), first_tile.eq(0),
                act.eq(c.act),
            ]
            with m.If(tiles == 2):
                m.d.sync += lines.eq(Mux(c.four, c.tail >> 1, c.tail))
            with m.If(c.acc_step):
                m.d.sync += [acc_tile.eq(acc_tile + height), acc_base.eq(acc_tile + height)]

        n = self.commands.p
        m.d.comb += self.commands.ready.eq(~active)
        with m.If(~active):
            first_height = Mux(n.tiles == 1, n.tail, n.height)
            m.d.sync += [
                active.eq(self.commands.valid), c.eq(n),
                tiles.eq(n.tiles), groups.eq(n.groups), blocks.eq((n.halves + 1) >> 1),
                lines.eq(Mux(n.four, first_height >> 1, first_height)), row.eq(0), half.eq(0),
                lower.eq(0), first_tile.eq(1), first_block.eq(1),
                first_pass.eq(1), act.eq(n.act), acc_tile.eq(n.acc), acc_base.eq(n.acc),
            ]
        with m.If(ends_all):
            m.d.sync += active.eq(0)

        # The beat of this cycle, in the next.
        out = self.issue
        m.d.sync += [
            out.valid.eq(go),
            out.element.eq(c.element), out.scale.eq(c.scale), out.four.eq(c.four),
            out.activation.eq(c.activation),
            out.starts.eq(~half & ~lower), out.upper.eq(c.double & ~lower),
            out.apart.eq(c.scale == ScaleKind.E4M3),
            out.address.eq((act << 1) + half),
            out.ends.eq(last_half),
            out.tile_row.eq(Mux(c.four, row << 1, row)),
            out.row.eq(acc_base + Mux(c.four, row << 1, row)),
            out.old.eq(~first_block | c.onto), out.shifted.eq(first_block),
            out.out.eq(last_block & to_bank), out.bank.eq(bank),
            out.done.eq(last_block & last_row & to_bank),
            self.raise1.id.eq(c.raise1),
            self.raise1.en.eq(ends_block & last_tile & (c.raise1 != 0)),
        ]

        m.submodules.job_queue = job_queue = JobQueue(config)
        connect(m, job_queue.jobs, flipped(self.jobs))
        m.d.comb += [
            job_queue.next.eq(n), job_queue.start.eq(~active), job_queue.command.eq(c),
            job_queue.height.eq(height), job_queue.push.eq(ends_pass & to_bank),
            job_queue.last_group.eq(last_group), job_queue.ends_tile.eq(ends_tile),
            job_queue.last_tile.eq(last_tile),
            job_queue.done.eq(self.done),
            self.busy.eq(active | (banks != 0)),
        ]
        return m
