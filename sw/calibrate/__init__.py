"""Rounds the weights of a model with a look at what they are multiplied by.

:func:`sw.calibrate.gptq.gptq` rounds a matrix, :func:`calibrated` a model; :func:`choose` is what
the command line offers.
"""

from .choice import QUANTISERS, choose
from .model import calibrated


__all__ = ["QUANTISERS", "calibrated", "choose"]
