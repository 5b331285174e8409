"""Takes the commands of the matrix unit, and leads attention from block to block."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.admission import Admission
from hw.attention.geometry import forward_job, select_job, softmax_job, turn_job
from hw.attention.product_order import ProductOrder
from hw.signatures import Command, Raise, Take, array_command, kv_part


__all__ = ["Front"]


class Front(wiring.Component):
    """Makes products for the array and jobs for softmax, transposer and selector. ::

        commands -> Admission -> open commands -> ProductOrder -> array, jobs
                        '-> array                      ^
                                             parts ----'

    The array takes from one of the two at a time: products of ``matmul`` go when no command of
    attention is open, and the others come from open commands.

    Latency
    -------
    0 for ``matmul``.

    Throughput
    ----------
    One ``matmul`` a cycle, a product of attention each 3 cycles. ``commands.ready`` depends
    combinationally on ``array.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
        Taken when they are open.
    parts : ``In(stream.Signature(kv_part))``
        In the order of their beats.
    array : ``Out(stream.Signature(array_command(config)))``
    blocks : ``Out(stream.Signature(softmax_job(config)))``
    turns : ``Out(stream.Signature(turn_job))``
    bounds : ``Out(stream.Signature(select_job(config)))``, only if ``config.pages``
    forwards : ``Out(stream.Signature(forward_job))``, only if ``config.forward``
    done : ``In(1)``
        The last probabilities of a block leave in this cycle.
    array_busy : ``In(1)``
    take0 : ``Take``
    raise1 : ``Raise``
    busy : ``Out(1)``
        A command waits or is open.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "commands":   In(stream.Signature(Command)),
            "parts":      In(stream.Signature(kv_part)),
            "array":      Out(stream.Signature(array_command(config))),
            "blocks":     Out(stream.Signature(softmax_job(config))),
            "turns":      Out(stream.Signature(turn_job)),
            **({"bounds": Out(stream.Signature(select_job(config)))} if config.pages else {}),
            **({"forwards": Out(stream.Signature(forward_job))} if config.forward else {}),
            "done":       In(1),
            "array_busy": In(1),
            "take0":      Out(Take),
            "raise1":     Out(Raise),
            "busy":       Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.admission = admission = Admission(self.config)
        m.submodules.order     = order     = ProductOrder(self.config)
        wiring.connect(m, wiring.flipped(self.commands), admission.commands)
        wiring.connect(m, wiring.flipped(self.parts), order.parts)
        wiring.connect(m, admission.take0, wiring.flipped(self.take0))
        for name in ("keys", "values"):
            wiring.connect(m, getattr(admission, name), getattr(order, name))
        for name in ("blocks", "turns", *(("bounds",) if self.config.pages else ())):
            wiring.connect(m, getattr(order, name), wiring.flipped(getattr(self, name)))
        if self.config.forward:
            wiring.connect(m, admission.forwards, wiring.flipped(self.forwards))
        m.d.comb += [
            order.done.eq(self.done), order.array_busy.eq(self.array_busy),
            self.busy.eq(self.commands.valid | ~admission.resting),
        ]

        # One at a time; a raise without products comes when nothing is open.
        self.choose(m, admission.resting, self.array, admission.array, order.array)
        m.d.comb += [
            self.raise1.id.eq(Mux(admission.raise1.en, admission.raise1.id, order.raise1.id)),
            self.raise1.en.eq(admission.raise1.en | order.raise1.en),
        ]
        return m

    @staticmethod
    def choose(m, choice, target, first, second):
        """Join ``target`` with ``first`` if ``choice``, else with ``second``."""
        m.d.comb += [
            target.payload.eq(Mux(choice, first.payload, second.payload)),
            target.valid.eq(Mux(choice, first.valid, second.valid)),
            first.ready.eq(target.ready & choice), second.ready.eq(target.ready & ~choice),
        ]
