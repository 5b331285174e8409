"""One matrix of one format out of weights that are rounded here and weights that are stored.

Weights that a file holds in a format of the machine are never rounded again if it can be avoided:
a matrix that is put together from several keeps their integers and scales if they have the same
format, or if some format among theirs holds all of them exactly. Only what fits nowhere is rounded
again, and noted.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from hw.formats import BLOCK, FORMATS, ScaleKind
from sw.errors import UserError
from sw.models.stored import Stored
from sw.quantise import dequantise_weights, quantise_weights


__all__ = ["Matrices", "Matrix", "promote"]


class Matrix(NamedTuple):
    """A quantised matrix; every matrix of a model may have a format of its own.

    Parameters
    ----------
    weights : int [N, K]
        Integers of elements.
    scales : [N, format.scales(K)]
        In the format's ``scale.dtype``.
    format : str
        A name of :data:`hw.formats.FORMATS`.
    factor : float32 or None
        By which results are multiplied, if the format has one.
    """

    weights: np.ndarray
    scales: np.ndarray
    format: str
    factor: np.float32 | None = None


class Matrices:
    """Makes the matrices of a model, and notes what was rounded again.

    Parameters
    ----------
    name : str
        Of the model.
    format : str
        Of weights that are not stored.
    rule : str
        As :func:`sw.quantise.quantise_weights` has it.

    Attributes
    ----------
    again : :class:`collections.Counter`
        Of matrices that were rounded again: how and why.
    """

    def __init__(self, name, format, rule="floor"):
        self.name, self.format, self.rule = name, format, rule
        self.again = Counter()

    def notes(self):
        """Sentences for the user."""
        return tuple(f"{count} {'matrix was' if count == 1 else 'matrices were'} rounded again, "
                     f"{how}" for how, count in self.again.items())

    def make(self, name, weights, arrange=lambda rows: rows, runs=1, columns=None):
        """The :class:`Matrix` of one or more matrices.

        Parameters
        ----------
        name : str
            For sentences.
        weights : list of arrays or :class:`sw.models.stored.Stored`
            All with as many columns.
        arrange : function
            From a list of arrays ``[rows, columns]``, one for each of ``weights``, to one array; it
            puts rows in order and adds rows of zeros.
        runs, columns : int
            Columns are so many runs, and each is padded with zeros to so many columns.
        """
        run = weights[0].shape[1] // runs
        columns = run if columns is None else columns
        weights = [w if fits(w, runs, run, columns) else self._free(w, run) for w in weights]
        if not any(isinstance(w, Stored) for w in weights):
            return self._round(name, arrange([widen(w, runs, columns) for w in weights]))
        parts = [Matrix(w.integers, w.scales, w.format, w.factor) if isinstance(w, Stored)
                 else self._round(name, w) for w in weights]
        parts = self.alike(name, parts, one_factor=True)
        scales = [part.scales for part in parts]
        format = FORMATS[parts[0].format]
        if columns != run and format.group:
            scales = [widen(x, runs, format.scales(columns)) for x in scales]
        return Matrix(arrange([widen(part.weights, runs, columns) for part in parts]),
                      arrange(scales), format.name, parts[0].factor)

    def _round(self, name, weights, format=None):
        format = format or self.format
        try:
            found, scales, factor = quantise_weights(weights, format, self.rule)
        except ValueError as error:
            raise UserError(f"the weights {name} of {self.name} cannot be rounded to {format}: "
                            f"{error}") from None
        return Matrix(found, scales, format, factor)

    def _free(self, weights, run):
        """Stored weights as an array."""
        self.again[f"from {weights.format} to {self.format}, because heads of {run} elements do "
                   "not begin where scales do"] += 1
        return weights.dequantise()

    def alike(self, name, parts, one_factor=False):
        """Matrices in one format; with one factor if asked."""
        share = Counter()
        for part in parts:
            share[part.format] += part.weights.size
        formats = [format for format, _ in share.most_common()]
        for format in formats:
            promoted = [promote(part, format) for part in parts]
            if None not in promoted and not (
                    one_factor and len({part.factor for part in promoted}) > 1):
                return promoted
        # E4M3 scales cannot take a factor up: 8 bits hold such elements nearly exactly.
        wanted = "int8" if one_factor and FORMATS[formats[0]].factor else formats[0]
        found = []
        for part in parts:
            again = promote(part, wanted)
            if again is None:
                self.again[f"from {part.format} to {wanted}, because other matrices that are "
                           "used with them have that format"] += 1
                again = self._round(name, dequantise_weights(*part), wanted)
            found.append(again)
        return found


def fits(weights, runs, run, columns):
    """Whether each of so many runs of columns of a stored matrix begins where a scale does, or
    none is padded; arrays always fit.
    """
    if not isinstance(weights, Stored) or runs == 1 or run == columns:
        return True
    group = FORMATS[weights.format].group
    return run % max(group, BLOCK) == 0


def widen(x, runs, wanted):
    """Columns of ``x`` as so many runs, each padded with zeros."""
    x = x.reshape(len(x), runs, -1)
    return np.pad(x, ((0, 0), (0, 0), (0, wanted - x.shape[2]))).reshape(len(x), -1)


def promote(matrix, format):
    """The :class:`Matrix` in another format if that holds it exactly, else None."""
    if matrix.format == format:
        return matrix
    source, target = FORMATS[matrix.format], FORMATS[format]
    if (source.scale, source.group) != (target.scale, target.group) or source.factor:
        return None
    # E8M0 scales may be raised by powers of two, others stay.
    raises = range(8) if source.scale == ScaleKind.E8M0 else (0,)
    for more in raises:
        shift = source.element.lsb - target.element.lsb - more
        if shift < 0:
            break
        if not np.isin(source.element.numbers.astype(np.int64) << shift,
                       target.element.numbers).all():
            continue
        if more and matrix.scales.max(initial=0) + more > 254:
            return None
        weights = matrix.weights.astype(target.element.integers.dtype) << shift
        scales = matrix.scales + np.uint8(more) if more else matrix.scales
        return Matrix(weights, scales, format)
    return None
