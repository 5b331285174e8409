"""The quantisers that users choose from, by name."""

from sim.build import build_root
from sw.errors import UserError
from sw.models.stored import Stored

from .cache import remembered
from .model import calibrated
from .text import LENGTH, TEXTS, from_file, written
from .weights import places, restored


__all__ = ["QUANTISERS", "choose", "first_token"]

QUANTISERS = ("nearest", "gptq")


def choose(quantiser, model, format, tokenizer, *, rule="floor", calibration=None, show=None,
           folder=None):
    """The model as a quantiser leaves it: the same, or with rounded weights.

    Parameters
    ----------
    quantiser : str
        ``nearest`` leaves the rounding to the compiler; ``gptq`` looks at a text.
    model : :class:`sw.models.Model`
    format : str or None
        Of weights that are not stored in a format of the machine.
    tokenizer :
        Of the model.
    rule : str
        Of E8M0 scales.
    calibration : path, optional
        The text; by default the model writes one.
    show : function of a str, optional
        Called with a line for the user now and then.
    folder : path, optional
        Where results are kept.
    """
    if quantiser not in QUANTISERS:
        raise UserError(f"the quantiser must be {' or '.join(QUANTISERS)}, not {quantiser!r}")
    if quantiser == "nearest":
        if calibration is not None:
            raise UserError("a calibration text is for the quantiser gptq; nearest has no use "
                            "for it")
        return model
    if all(isinstance(weights, Stored) for _, weights in places(model)):
        raise UserError(f"{model.name} holds all of its weights in formats of the machine, and "
                        "the quantiser gptq would leave them as they are; leave it out")
    show = show or (lambda line: None)
    tokens = None
    if calibration is not None:
        tokens = from_file(calibration, tokenizer, model.context)

    def compute():
        text = tokens
        if text is None:
            text = written(restored(model), first_token(tokenizer), show=lambda done, total: show(
                f"the model writes calibration text: {done} of {total} tokens"))
        return calibrated(model, format, text, rule=rule, show=lambda done, total: show(
            f"calibration: {done} of {total} matrices"))

    settings = f"{format} {rule} {TEXTS} {LENGTH} ".encode()
    settings += b"written" if tokens is None else tokens.astype("<i8").tobytes()
    return remembered(model, settings, compute, folder or build_root() / "calibrated")


def first_token(tokenizer):
    """What texts begin with, also where a tokenizer has no token for that."""
    return (tokenizer.encode("") or tokenizer.encode("\n"))[0]
