"""Weights as a file holds them: in a format of the machine, or in one that it lacks."""

from dataclasses import dataclass

import numpy as np

from hw.formats import ELEMENTS, FORMATS, ScaleKind
from sw.quantise import dequantise_weights


__all__ = ["LAYOUTS", "Foreign", "Stored", "unpack"]

#: Rows that are dequantised at once: float64 is large.
ROWS = 1024


@dataclass(frozen=True, eq=False)
class Stored:
    """A matrix ``[outputs, inputs]`` of a format of :data:`hw.formats.FORMATS`.

    Parameters
    ----------
    integers : array of N x K
        Of elements.
    scales : array of N x scales of a row
        As :func:`sw.quantise.quantise_weights` gives them.
    format : str
    factor : float32, optional
        Of a format that has one.
    """

    integers: np.ndarray
    scales: np.ndarray
    format: str
    factor: np.float32 | None = None

    @property
    def shape(self):
        return self.integers.shape

    @property
    def size(self):
        """Number of weights."""
        return self.integers.size

    def dequantise(self):
        """The float32 matrix that it stands for; infinite where that is beyond float32."""
        found = np.empty(self.shape, np.float32)
        for first in range(0, len(found), ROWS):
            rows = slice(first, first + ROWS)
            with np.errstate(over="ignore"):
                found[rows] = dequantise_weights(self.integers[rows], self.scales[rows],
                                                 self.format, self.factor)
        return found


@dataclass(frozen=True, eq=False)
class Foreign:
    """A matrix that was rounded to a format which the machine lacks, and must be rounded again.

    Parameters
    ----------
    values : float32 array of N x K
    type : str
        The format's name.
    """

    values: np.ndarray
    type: str

    @property
    def shape(self):
        return self.values.shape

    @property
    def size(self):
        """Number of weights."""
        return self.values.size

    def dequantise(self):
        """The float32 matrix."""
        return self.values


def q8_0(blocks):
    """32 times: FP16 scale, 32 elements of INT8."""
    return blocks[..., 2:].view(np.int8), halves(blocks)


def q4_0(blocks):
    """FP16 scale, 16 bytes; elements have an offset of 8."""
    return nibbles(blocks[..., 2:]).view(np.int8) - np.int8(8), halves(blocks)


def mxfp4(blocks):
    """E8M0 code, 16 bytes of E2M1. ggml doubles the elements and halves the scale."""
    return ELEMENTS["e2m1"].decode(nibbles(blocks[..., 1:])), blocks[..., 0]


def nvfp4(blocks):
    """Four E4M3 codes, then four times 16 elements of E2M1; doubled and halved as MXFP4."""
    parts = blocks[..., 4:].reshape(*blocks.shape[:-1], 4, 8)
    return ELEMENTS["e2m1"].decode(nibbles(parts)), blocks[..., :4]


def halves(blocks):
    """FP16 scales that begin the blocks."""
    return np.ascontiguousarray(blocks[..., :2]).view("<f2")[..., 0]


def nibbles(packed):
    """Codes of 4 bits: those of all low nibbles, then those of all high ones."""
    return np.concatenate([packed & 0x0F, packed >> 4], axis=-1)


#: By ggml's name of a type: our format, elements of a block, its bytes, and what takes it apart.
LAYOUTS = {"Q8_0": ("int8", 32, 34, q8_0), "Q4_0": ("int4", 32, 18, q4_0),
           "MXFP4": ("mxfp4", 32, 17, mxfp4), "NVFP4": ("nvfp4", 64, 36, nvfp4)}


def unpack(raw, type, shape, factor=None):
    """The :class:`Stored` matrix of a tensor's bytes; ``type`` is one of :data:`LAYOUTS`.

    Raises :class:`ValueError` if a scale is not a number.
    """
    format, elements, size, apart = LAYOUTS[type]
    rows, k = shape
    integers, scales = apart(raw.reshape(rows, k // elements, size))
    scales = np.ascontiguousarray(scales.reshape(rows, -1))
    kind = FORMATS[format].scale
    if kind == ScaleKind.FP16:
        wrong = ~np.isfinite(scales)
    elif kind == ScaleKind.E8M0:
        wrong = scales == 0xFF
    else:
        wrong = scales & 0x7F == 0x7F
    if wrong.any():
        row, column = (int(n) for n in np.argwhere(wrong)[0])
        raise ValueError(f"the scale of block {column} of row {row} is not a number")
    integers = np.ascontiguousarray(integers.reshape(rows, k).astype(np.int8, copy=False))
    if FORMATS[format].factor and factor is None:
        factor = np.float32(1)
    return Stored(integers, scales, format, factor)
