"""Where the keys and values of each layer lie in memory."""

from dataclasses import dataclass

from hw.formats import KV
from sw.models.attention import Attention
from verif.reference.pattern import BLOCK


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
    """

    line: int
    head_lines: int
    heads: int
    ring: int
    sees: Attention

    @property
    def lines(self):
        """Lines of the layer."""
        return self.heads * self.head_lines


def kv_layers(model, config, positions, chunk=1):
    """The :class:`KvLayer` of each layer of a model, for texts of ``positions`` tokens that are
    appended up to ``chunk`` at a time before the first of them looks back."""
    found, line = [], 0
    for sees in model.sees:
        sees = sees.within(positions)
        blocks, ring = -(-positions // BLOCK), 0
        if sees.window and sees.blocks is None:
            # A window may begin and end inside a block.
            around = -(-(sees.window + chunk - 1) // BLOCK) + 1
            kept = -(-sees.sinks // BLOCK)
            if kept + around < blocks:
                blocks, ring = kept + around, around
        head_lines = blocks * config.kv_lines(model.head_blocks, KV[model.kv].packed)
        found.append(KvLayer(line, head_lines, model.n_kv_heads, ring, sees))
        line += found[-1].lines
    return tuple(found)


def lists_of_blocks(layers):
    """The different lists of blocks that layers see besides their windows."""
    return list(dict.fromkeys(layer.sees.blocks for layer in layers
                              if layer.sees.blocks is not None))
