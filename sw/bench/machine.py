"""What benchmarks of products and of attention share: random weights, and a program's run."""

import numpy as np

from hw import register_map as rm
from hw.formats import FORMATS, ScaleKind


__all__ = ["execute", "random_weights"]


def execute(device, words, most=1_000_000):
    """Cycles between the two times that a program emits; it ends within ``most`` cycles."""
    device.program(words)
    device.start()
    status = device.run(most)
    if status != rm.DONE:
        raise ValueError(f"the machine ended with status {status}, {device.cause().name}, at "
                         f"instruction {device.read_register('pc')}")
    start, end = device.emitted()
    return end - start


def random_weights(rng, format, shape, padded):
    """``(weights, scales, factor)`` of a matrix, zero beyond it.

    Parameters
    ----------
    format : str
    shape, padded : (int, int)
        Outputs and inner elements of the matrix, and rows and columns with padding.
    """
    format, (outputs, inner) = FORMATS[format], shape
    w = np.zeros(padded, format.element.integers.dtype)
    w[:outputs, :inner] = rng.choice(format.element.numbers, shape)
    scales = np.zeros((len(w), format.scales(w.shape[1])), format.scale.dtype)
    # Of moderate size: bits of numbers for BF16, codes for the others.
    low, high = {ScaleKind.FP16: (0x1400, 0x2E00), ScaleKind.BF16: (0x3A80, 0x3DC0),
                 ScaleKind.E8M0: (117, 124), ScaleKind.E4M3: (1, 0x7E)}[format.scale]
    scales.view(f"u{scales.itemsize}")[:outputs] = rng.integers(
        low, high, (outputs, scales.shape[1]))
    return w, scales, np.float32(0.01) if format.factor else None
