"""Takes one thing after another from a GGUF file that may be damaged or hostile."""

import struct

import numpy as np

from sw.errors import UserError


__all__ = ["Cursor", "plain", "shown"]

#: numpy's name of each number that metadata can hold; 7, 8 and 9 are truth, text and array.
NUMBERS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "u1",
           10: "<u8", 11: "<i8", 12: "<f8"}
TRUTH, TEXT, ARRAY = 7, 8, 9
#: Longest name of a tensor or of an entry.
NAME = 1 << 10


def plain(text):
    """Text of a file, harmless and short enough for a sentence."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    return ascii(text if len(text) <= 48 else text[:45] + "...")


def shown(value):
    """A value of the metadata, harmless and short."""
    if isinstance(value, (list, np.ndarray)):
        return f"{len(value)} values"
    return plain(value) if isinstance(value, bytes) else repr(value)


class Cursor:
    """Takes one thing after another; every length is compared with what is left of the file.

    Parameters
    ----------
    path : Path
        For sentences.
    raw : buffer
        All bytes of the file.
    """

    def __init__(self, path, raw):
        self.path, self.raw, self.at = path, raw, 0

    def left(self):
        return len(self.raw) - self.at

    def skip(self, size, what):
        """Where the next ``size`` bytes begin, which are there."""
        if size > self.left():
            raise UserError(f"{self.path} ends inside {what}: {size} bytes are wanted, and "
                            f"{self.left()} are left; the file is cut short or damaged")
        self.at += size
        return self.at - size

    def number(self, kind, what):
        """The next number, of a kind of :mod:`struct`."""
        return struct.unpack_from(kind, self.raw, self.skip(struct.calcsize(kind), what))[0]

    def text(self, what):
        """The next text, as bytes."""
        size = self.number("<Q", what)
        at = self.skip(size, what)
        return self.raw[at:at + size]

    def name(self, what):
        """The next text, which is a name."""
        text = self.text(what)
        if not text or len(text) > NAME:
            raise UserError(f"{self.path} is damaged: {what} has a name of {len(text)} bytes, "
                            f"where 1 to {NAME} are possible")
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise UserError(f"{self.path} is damaged: {what} has a name that is not "
                            "UTF-8") from None

    def count(self, least, what):
        """The next number, of things that have at least so many bytes each."""
        count = self.number("<Q", f"the number of {what}")
        if count * least > self.left():
            raise UserError(f"{self.path} is damaged: it says that {count} {what} follow, but only "
                            f"{self.left()} bytes do")
        return count

    def value(self, key):
        """The next value: int, float, bool, bytes, numpy array, or list of bytes."""
        kind = self.number("<I", key)
        if kind == TEXT:
            return self.text(key)
        if kind == ARRAY:
            return self.array(key)
        return self.numbers(kind, 1, key)[0].item()

    def array(self, key):
        kind = self.number("<I", key)
        if kind == TEXT:
            return [self.text(key) for _ in range(self.count(8, f"texts of {key}"))]
        size = np.dtype(NUMBERS.get(kind, "u1")).itemsize
        return self.numbers(kind, self.count(size, f"numbers of {key}"), key)

    def numbers(self, kind, count, key):
        """The next numbers, as an array."""
        if kind not in NUMBERS:
            raise UserError(f"{self.path} is damaged: the metadata {key} has the unknown type "
                            f"{kind}")
        dtype = np.dtype(NUMBERS[kind])
        found = np.frombuffer(self.raw, dtype, count, self.skip(dtype.itemsize * count, key))
        return found != 0 if kind == TRUTH else found
