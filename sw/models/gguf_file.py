"""Reads the container of a GGUF file: its metadata, and where each tensor lies.

Versions 2 and 3 of ggml's docs/gguf.md, little endian: a header with the numbers of tensors and of
metadata entries, the entries, a description of each tensor, and the tensors' bytes at multiples of
an alignment. Files come from anywhere: every length is compared with that of the file before
anything is read or allocated, and tensors may not share bytes.
"""

import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sw.errors import UserError

from .gguf_cursor import Cursor, plain, shown


__all__ = ["MAGIC", "Gguf", "Tensor"]

MAGIC = b"GGUF"
VERSIONS = 2, 3
#: Bytes of the shortest metadata entry and of the shortest description of a tensor.
ENTRY, DESCRIPTION = 13, 32
DIMENSIONS = 4


class Tensor(NamedTuple):
    """A tensor of a file.

    Parameters
    ----------
    name, type : str
        The type as ggml calls it: ``F32``, ``Q8_0``, ...
    shape : tuple of int
        Its last element counts what lies together.
    raw : array of uint8
        Its bytes, in the file.
    """

    name: str
    type: str
    shape: tuple
    raw: np.ndarray


class Gguf:
    """A GGUF file.

    Attributes
    ----------
    path : Path
    metadata : dict
        Values by key: int, float, bool, bytes, array of numbers, or list of bytes.
    tensors : dict of :class:`Tensor`
        By name, in the file's order.
    """

    def __init__(self, path):
        self.path = Path(path)
        cursor = Cursor(self.path, self._map())
        if cursor.raw[:4] != MAGIC:
            raise UserError(f"{path} is not a GGUF file: it does not begin with GGUF")
        cursor.at = 4
        version = cursor.number("<I", "its header")
        if version not in VERSIONS:
            raise UserError(
                f"{path} is a big-endian GGUF file; little-endian ones can be read"
                if version & 0xFFFF == 0 else
                f"{path} is a GGUF file of version {version}; versions 2 and 3 can be read")
        tensors = cursor.count(DESCRIPTION, "tensors")
        self.metadata = {}
        for number in range(cursor.count(ENTRY, "metadata entries")):
            key = cursor.name(f"metadata entry {number}")
            if key in self.metadata:
                raise UserError(f"{path} is damaged: it holds the metadata {plain(key)} twice")
            self.metadata[key] = cursor.value(f"the metadata {plain(key)}")
        described = [self._description(cursor, number) for number in range(tensors)]
        self.tensors = self._place(cursor, described)

    def _map(self):
        """The file's bytes, mapped to memory."""
        try:
            with open(self.path, "rb") as file:
                size = file.seek(0, 2)
                if size < 24:
                    raise UserError(f"{self.path} is not a GGUF file: it has only {size} bytes")
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise UserError(f"the model file {self.path} does not exist") from None
        except OSError as error:
            raise UserError(f"the model file {self.path} cannot be read: "
                            f"{error.strerror}") from None

    def _description(self, cursor, number):
        """Name, number of the type, shape and offset of the next tensor."""
        name = cursor.name(f"tensor {number}")
        what = f"the description of the tensor {plain(name)}"
        dimensions = cursor.number("<I", what)
        if not 1 <= dimensions <= DIMENSIONS:
            raise UserError(f"{self.path} is damaged: the tensor {plain(name)} has {dimensions} "
                            f"dimensions, where 1 to {DIMENSIONS} are possible")
        shape = [cursor.number("<Q", what) for _ in range(dimensions)][::-1]
        if 0 in shape:
            raise UserError(f"{self.path} is damaged: the tensor {plain(name)} has no elements")
        return name, cursor.number("<I", what), tuple(shape), cursor.number("<Q", what)

    def _place(self, cursor, described):
        """The tensors, each with its bytes."""
        from gguf.constants import GGML_QUANT_SIZES

        types = {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
        alignment = self.metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise UserError(f"{self.path} is damaged: its alignment must be a power of two, not "
                            f"{shown(alignment)}")
        start = -(-cursor.at // alignment) * alignment
        tensors, taken = {}, []
        for name, number, shape, offset in described:
            if number not in types:
                raise UserError(f"{self.path}: the tensor {plain(name)} has the unknown type "
                                f"{number}; a newer version of the package gguf may know it")
            kind, block, size = types[number]
            count = 1
            for extent in shape:
                count *= extent
            if shape[-1] % block:
                raise UserError(f"{self.path} is damaged: rows of the tensor {plain(name)} have "
                                f"{shape[-1]} elements, which are no blocks of {block} ({kind})")
            first, size = start + offset, count // block * size
            if offset % alignment or first + size > len(cursor.raw):
                raise UserError(f"{self.path}: the tensor {plain(name)} should have {size} bytes "
                                f"at {first}, but the file has {len(cursor.raw)}: it is cut short "
                                "or damaged")
            if name in tensors:
                raise UserError(f"{self.path} is damaged: it holds the tensor {plain(name)} twice")
            tensors[name] = Tensor(name, kind, shape,
                                   np.frombuffer(cursor.raw, np.uint8, size, first))
            taken.append((first, first + size, name))
        taken.sort()
        for (_, end, name), (first, _, other) in zip(taken, taken[1:]):
            if first < end:
                raise UserError(f"{self.path} is damaged: the tensors {plain(name)} and "
                                f"{plain(other)} share bytes")
        return tensors

    # Metadata, checked.

    def integer(self, key, default=None, least=1, most=2**31 - 1):
        """A whole number of the metadata; needed if there is no ``default``."""
        value = self.metadata.get(key, default)
        if value is None:
            raise UserError(f"{self.path} lacks the metadata {key}")
        if type(value) is not int or not least <= value <= most:
            raise UserError(f"{self.path}: the metadata {key} must be a whole number from {least} "
                            f"to {most}, not {shown(value)}")
        return value

    def real(self, key, default=None):
        """A positive number of the metadata; needed if there is no ``default``."""
        value = self.metadata.get(key, default)
        if value is None:
            raise UserError(f"{self.path} lacks the metadata {key}")
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise UserError(f"{self.path}: the metadata {key} must be a positive number, not "
                            f"{shown(value)}")
        return float(value)

    def truth(self, key, default):
        """Yes or no."""
        value = self.metadata.get(key, default)
        if type(value) is not bool:
            raise UserError(f"{self.path}: the metadata {key} must be true or false, not "
                            f"{shown(value)}")
        return value

    def text(self, key, default=None):
        """A text of the metadata, as str; needed if there is no ``default``."""
        value = self.metadata.get(key, default)
        if value is None:
            raise UserError(f"{self.path} lacks the metadata {key}")
        if type(value) is str:
            return value
        if type(value) is not bytes:
            raise UserError(f"{self.path}: the metadata {key} must be a text, not {shown(value)}")
        return value.decode("utf-8", errors="replace")
