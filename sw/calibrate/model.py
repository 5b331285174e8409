"""Rounds the matrices of a model one after the other, each with the inputs that it will have."""

import numpy as np

from sw.errors import UserError
from sw.models.stored import Stored

from .gptq import damped, gptq
from .passes import walk
from .weights import KINDS, columns, placed, places, restored, values


__all__ = ["calibrated"]

#: Positions whose inputs are multiplied at a time.
ROWS = 4096


def calibrated(model, format, tokens, *, rule="floor", damping=0.01, search=True, correct=True,
               show=None):
    """The model with its matrices rounded; those that are stored in a format of the machine stay.

    Calibration text goes through two models: the exact one, and the one whose matrices are rounded
    so far. The inputs of the latter decide how a matrix is rounded.

    Parameters
    ----------
    model : :class:`sw.models.Model`
    format : str or None
        A name of :data:`hw.formats.FORMATS`; None as :meth:`sw.models.Model.target` has it.
    tokens : int [texts, positions]
        Calibration text.
    rule, damping, search :
        See :func:`sw.calibrate.gptq.gptq`.
    correct : bool
        Correct a matrix before it is rounded: from the inputs of the rounded model, it shall make
        what the exact model has at this place (compare Li et al., "GPTAQ", arXiv 2504.02692); if
        its products are added to the residual stream, it shall also make up for what is lost there.
    show : function of two int, optional
        Called with the number of matrices that are done, and of all.
    """
    exact = restored(model)
    passes = walk(exact, tokens), walk(exact, tokens)
    stored, found = dict(places(model)), {}
    here, wanted = map(next, passes)
    while True:
        names = [(here.layer, name) for name in KINDS[here.kind]]
        parts = {}
        for place in names:
            if not isinstance(stored[place], Stored):
                parts.setdefault(model.target(stored[place], format), []).append(place)
        moments = Moments(model, here, wanted, correct) if parts else None
        for target, group in parts.items():
            found |= round_group(exact, group, target, moments, rule, damping, search)
        if show is not None:
            show(len(found), len(stored))
        if here.kind == "output":
            return placed(model, found)
        here = passes[0].send({name: values(model, name, found[n, name]) for n, name in names
                               if (n, name) in found})
        wanted = passes[1].send(None)


class Moments:
    """What the inputs of a matrix say about it.

    Attributes
    ----------
    hessian : float64 [K, K]
        ``X.T @ X`` of the inputs X.
    change : float64 [K, K] or 0
        ``X.T @ (Y - X)``; Y are the inputs in the exact model.
    lost : float64 [K, dim] or 0
        ``X.T @ E``; E is what the residual stream has lost.
    """

    def __init__(self, model, here, wanted, correct):
        self.hessian = self.change = self.lost = 0
        adds = here.kind in ("heads", "hidden")
        for x, y, r, s in zip(*(rows_of(stop) for stop in (
                here.inputs, wanted.inputs, here.stream, wanted.stream))):
            x, y = (columns(model, KINDS[here.kind][0], part.astype(np.float64))
                    for part in (x, y))
            self.hessian = self.hessian + x.T @ x
            if correct:
                self.change = self.change + x.T @ (y - x)
                self.lost = self.lost + x.T @ (s - r) if adds else 0

    def corrected(self, w, damping):
        """The matrix whose products with X are closest to those of ``w`` with Y, and E."""
        if np.ndim(self.change) == 0:
            return w
        wanted = self.change @ w.T.astype(np.float64) + self.lost
        return (w + np.linalg.solve(damped(self.hessian, damping), wanted).T).astype(np.float32)


def rows_of(x):
    """Parts of ``x [texts, positions, elements]``, as ``[rows, elements]``."""
    x = x.reshape(-1, x.shape[-1])
    return (x[first:first + ROWS] for first in range(0, len(x), ROWS))


def round_group(model, group, target, moments, rule, damping, search):
    """Matrices of the same inputs as :class:`sw.models.stored.Stored`, by place, with the same
    factor.
    """
    weights = dict(places(model))
    parts = [columns(model, name, weights[n, name]) for n, name in group]
    try:
        w = moments.corrected(np.concatenate(parts), damping)
        q, scales, factor = gptq(w, moments.hessian, target, damping=damping, search=search,
                                 rule=rule)
    except ValueError as error:
        layer, names = group[0][0], ", ".join(name for _, name in group)
        raise UserError(f"the weights {names} of layer {layer} of {model.name} cannot be rounded "
                        f"to {target}: {error}") from None
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return {place: Stored(np.ascontiguousarray(integers), np.ascontiguousarray(scale), target,
                          factor)
            for place, integers, scale in zip(group, np.split(q, ends), np.split(scales, ends))}
