"""Where the keys and values of each layer lie in memory."""

from dataclasses import dataclass

from hw.formats import KV
from sw.models.attention import Attention
from verif.reference.pattern import BLOCK

from .memory import row_lines


__all__ = ["KvLayer", "kv_layers", "lists_of_blocks"]


@dataclass(frozen=True)
class KvLayer:
    """Keys and values of one layer: for each KV head the same number of blocks.

    Parameters
    ----------
    line : int
        First line, counted from that of all layers.
    head_lines, heads : int
        Lines of a head, and how many there are.
    ring : int
        Blocks that the tokens behind the sinks use in turn; 0 if every token keeps its place.
    sees : :class:`sw.models.attention.Attention`
        What the layer sees, dense if its window takes in all positions.
    bounds_lines : int
        Lines of the bounds of a head's pages, if the layer chooses some; they lie behind all heads.
    running_lines : int
        Lines of the largest and the smallest keys so far of a page that is not complete, float32;
        they come last.
    """

    line: int
    head_lines: int
    heads: int
    ring: int
    sees: Attention
    bounds_lines: int = 0
    running_lines: int = 0

    @property
    def bounds(self):
        """First line of the bounds, counted from that of the layer."""
        return self.heads * self.head_lines

    @property
    def running(self):
        """First line of the bounds so far, counted from that of the layer."""
        return self.bounds + self.heads * self.bounds_lines

    @property
    def lines(self):
        """Lines of the layer."""
        return self.running + self.running_lines


def kv_layers(model, config, positions, chunk=1, pool=None):
    """The :class:`KvLayer` of each layer of a model, for texts of ``positions`` tokens that are
    appended up to ``chunk`` at a time before the first of them looks back. A head has as many
    blocks as ``pool`` if tables say where they lie; then there are no rings."""
    found, line = [], 0
    for sees in model.sees:
        sees = sees.within(positions)
        blocks, ring = -(-positions // BLOCK), 0
        if pool is not None:
            blocks = pool
        elif sees.window and sees.blocks is None and sees.sparse is None:
            # A window may begin and end inside a block.
            around = -(-(sees.window + chunk - 1) // BLOCK) + 1
            kept = -(-sees.sinks // BLOCK)
            if kept + around < blocks:
                blocks, ring = kept + around, around
        head_lines = blocks * config.kv_lines(model.head_blocks, KV[model.kv].packed)
        bounds = ()
        if sees.sparse is not None:
            pages = positions // sees.sparse.page
            lines = config.bounds_lines(model.head_blocks, KV[model.kv].packed)
            bounds = -(-pages // BLOCK) * lines, row_lines(config, 2 * model.kv_rows)
        found.append(KvLayer(line, head_lines, model.n_kv_heads, ring, sees, *bounds))
        line += found[-1].lines
    return tuple(found)


def lists_of_blocks(layers):
    """The different lists of blocks that layers see besides their windows."""
    return list(dict.fromkeys(layer.sees.blocks for layer in layers
                              if layer.sees.blocks is not None))
