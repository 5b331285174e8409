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
from sw.models.stored import Foreign, Stored
from sw.quantise import dequantise_weights, quantise_weights
from verif.reference.tape import tape_beats


__all__ = ["Matrices", "Matrix", "promote", "without_padding"]


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

    def beats(self, slices):
        """Of its tape, on a machine with so many slices."""
        return tape_beats(self.weights.shape, self.format, slices)


class Matrices:
    """Makes the matrices of a model, and notes what was rounded again.

    Parameters
    ----------
    model : :class:`sw.models.Model`
    format : str
        What the user asks for; None if nothing.
    rule : str
        As :func:`sw.quantise.quantise_weights` has it.

    Attributes
    ----------
    again : :class:`collections.Counter`
        Of matrices that were rounded again: how and why.
    """

    def __init__(self, model, format=None, rule="floor"):
        self.model, self.name, self.format, self.rule = model, model.name, format, rule
        self.again = Counter()

    def notes(self):
        """Sentences for the user."""
        return tuple(f"{count} {'matrix was' if count == 1 else 'matrices were'} rounded again, "
                     f"{how}" for how, count in self.again.items())

    def make(self, name, weights, arrange, runs=1, columns=None):
        """The :class:`Matrix` of one or more matrices.

        Parameters
        ----------
        name : str
            For sentences.
        weights : list of arrays, :class:`Stored` and :class:`Foreign`
            All with as many columns.
        arrange : function
            From a list of arrays ``[rows, columns]``, one for each of ``weights``, to one array; it
            puts rows in order and adds rows of zeros.
        runs, columns : int
            Columns are so many runs, and each is padded with zeros to so many columns. Stored
            scales fit only one run.
        """
        run = weights[0].shape[1] // runs
        columns = run if columns is None else columns
        weights = [self._fitting(w, runs, run) for w in weights]
        targets = [self.model.target(w, self.format) for w in weights]
        stored = [isinstance(w, Stored) for w in weights]
        arrays = [self._values(*both) for both in zip(weights, targets)]
        if not any(stored) and len(set(targets)) == 1:
            joined = arrange([widen(w, runs, columns) for w in arrays])
            return self._round(name, joined, targets[0])
        parts = [Matrix(w.integers, w.scales, w.format, w.factor) if kept
                 else self._round(name, array, target)
                 for w, kept, array, target in zip(weights, stored, arrays, targets)]
        parts = self.alike(name, parts, one_factor=True)
        scales = [part.scales for part in parts]
        format = FORMATS[parts[0].format]
        if columns != run and format.group:
            scales = [widen(x, runs, format.scales(columns)) for x in scales]
        return Matrix(arrange([widen(part.weights, runs, columns) for part in parts]),
                      arrange(scales), format.name, parts[0].factor)

    def _fitting(self, weights, runs, run):
        """The weights; :class:`Foreign` if they are stored and zeros come between columns."""
        if not isinstance(weights, Stored) or runs == 1:
            return weights
        return Foreign(weights.dequantise(), f"{weights.format} in heads of {run} elements")

    def _values(self, weights, target):
        """Weights that will be rounded as an array; None if they are stored."""
        if isinstance(weights, Stored):
            return None
        if not isinstance(weights, Foreign):
            return weights
        self.again[f"from {weights.type} to {target}"] += 1
        return weights.values

    def _round(self, name, weights, format):
        try:
            found, scales, factor = quantise_weights(weights, format, self.rule)
        except ValueError as error:
            raise UserError(f"the weights {name} of {self.name} cannot be rounded to {format}: "
                            f"{error}") from None
        return Matrix(found, scales, format, factor)

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
        # The finest format loses least; E4M3 scales cannot take a factor up.
        wanted = max(formats, key=lambda format: FORMATS[format].element.bits)
        if one_factor and FORMATS[wanted].factor:
            wanted = "int8"
        found = []
        for part in parts:
            again = promote(part, wanted)
            if again is None:
                self.again[f"from {part.format} to {wanted}, because other matrices that are "
                           "used with them have that format"] += 1
                again = self._round(name, dequantise_weights(*part), wanted)
            found.append(again)
        return found


def widen(x, runs, wanted):
    """Columns of ``x`` as so many runs, each padded with zeros."""
    x = x.reshape(len(x), runs, -1)
    return np.pad(x, ((0, 0), (0, 0), (0, wanted - x.shape[2]))).reshape(len(x), -1)


def without_padding(matrix, size):
    """The matrix without the last half block of its columns, if all columns from ``size`` on are
    zeros, and rows of its format may end so."""
    columns = matrix.weights.shape[1] - BLOCK // 2
    if FORMATS[matrix.format].whole or size > columns:
        return matrix
    return matrix._replace(weights=matrix.weights[:, :columns])


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
        if more and int(matrix.scales.max(initial=0)) + more > 254:
            return None
        weights = matrix.weights.astype(target.element.integers.dtype) << shift
        scales = matrix.scales + np.uint8(more) if more else matrix.scales
        return Matrix(weights, scales, format)
    return None
