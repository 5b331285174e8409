"""Keeps calibrated models in files, because calibration takes its time."""

import io
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np

from hw.formats import named
from sw.files import write_whole
from sw.models.stored import Foreign, Stored

from .weights import placed, places


__all__ = ["digest", "remembered"]

#: A change of these files makes all results obsolete.
SOURCES = [*sorted(Path(__file__).parent.glob("*.py")),
           *(Path(__file__).parents[2] / name for name in ("sw/quantise.py", "hw/formats.py"))]


def remembered(model, settings, compute, folder):
    """What ``compute()`` gives, or what it gave earlier.

    Parameters
    ----------
    model : :class:`sw.models.Model`
    settings : str or bytes
        All else that the result depends on.
    compute : function
        Gives the model with some of its weights as :class:`sw.models.stored.Stored`.
    folder : path
    """
    path = Path(folder) / f"{Path(model.name).name}-{digest(model, settings)[:16]}.npz"
    try:
        return read(path, model)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # There is no such file, or it is damaged.
        pass
    result = compute()
    try:
        write_whole(path, packed(model, result))
    except OSError:
        # Where nothing can be written, the next time takes as long as this one.
        pass
    return result


def digest(model, settings):
    """Name of a result."""
    found = sha256(settings.encode() if isinstance(settings, str) else settings)
    for source in SOURCES:
        found.update(source.read_bytes())
    arrays = [value for value in vars(model).values() if isinstance(value, np.ndarray)]
    arrays += [array for layer in model.layers for weights in vars(layer).values()
               for array in arrays_of(weights)]
    for array in [*arrays, *arrays_of(model.classifier)]:
        found.update(f"{array.shape} {array.dtype}".encode())
        found.update(np.ascontiguousarray(array))
    numbers = {key: value for key, value in vars(model).items()
               if isinstance(value, int | float | str)}
    found.update(repr(sorted(numbers.items())).encode())
    return found.hexdigest()


def arrays_of(weights):
    if isinstance(weights, Stored | Foreign):
        return [np.asarray(value) for value in vars(weights).values() if value is not None]
    return [weights]


def packed(model, result):
    """Bytes of a file with the weights of ``result`` that are not those of ``model``."""
    before, file, arrays = dict(places(model)), io.BytesIO(), {}
    for place, weights in places(result):
        if weights is not before[place]:
            name = f"{place[0]}.{place[1]}.{weights.format}"
            arrays[f"{name}.codes"] = named(weights.format).element.encode(weights.integers)
            arrays[f"{name}.scales"] = weights.scales
            if weights.factor is not None:
                arrays[f"{name}.factor"] = weights.factor
    np.savez(file, **arrays)
    return file.getvalue()


def read(path, model):
    """The model with the weights of a file."""
    found = {}
    with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
        for key in file.files:
            layer, name, format, part = key.split(".")
            if part == "codes":
                factor = f"{layer}.{name}.{format}.factor"
                found[int(layer), name] = Stored(
                    named(format).element.decode(file[key]),
                    file[f"{layer}.{name}.{format}.scales"], format,
                    file[factor][()] if factor in file.files else None)
    return placed(model, found)
