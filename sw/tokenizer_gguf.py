"""Tokenizers that are in GGUF files: SentencePiece by scores, and byte-level BPE by merges.

They give the tokens that llama.cpp gives. Texts of special tokens, such as ``<|im_start|>``, become
these tokens wherever they stand.
"""

import re
from functools import cache

import numpy as np

from sw.errors import UserError
from sw.models.gguf_cursor import plain
from sw.models.gguf_file import Gguf
from sw.tokenizer import join
from sw.tokenizer_words import RULES, split


__all__ = ["BytePairs", "Pieces", "load"]

KEY = "tokenizer.ggml."
#: Types of tokens.
UNKNOWN, CONTROL, USER, BYTE = 2, 3, 4, 6
#: What SentencePiece writes for a space.
SPACE = "\u2581"
#: Rules of words under which a word that is a token is not put together from others, and a text
#: begins with BOS if its file does not say otherwise.
WHOLE = "llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "tekken"


def load(path):
    """The tokenizer of a GGUF file; :class:`UserError` says what is wrong with it."""
    file = Gguf(path)
    kind = file.text(KEY + "model", "none")
    if kind not in KINDS:
        raise UserError(f"{path} holds a tokenizer of the kind {plain(kind)}, and those that can "
                        f"be used are {' and '.join(KINDS)}; name another with --tokenizer")
    return KINDS[kind](file)


class Embedded:
    """What both kinds of tokenizers have in common.

    Parameters
    ----------
    file : :class:`sw.models.gguf_file.Gguf`

    Attributes
    ----------
    tokens : list of str
        As the file writes them.
    types : list of int
    bos : int
        Token that begins a text; None if there is none.
    """

    #: Values of metadata that is missing.
    bos_default, begins, spaced = None, False, False

    def __init__(self, file):
        texts = file.metadata.get(KEY + "tokens")
        if not isinstance(texts, list) or not texts:
            raise UserError(f"{file.path} lacks the tokens of its tokenizer ({KEY}tokens)")
        try:
            self.tokens = [text.decode() for text in texts]
        except UnicodeDecodeError:
            raise UserError(f"{file.path} is damaged: a token of its tokenizer is not UTF-8"
                            ) from None
        self.types = numbers(file, "token_type", len(texts), "i", 1).tolist()
        self.ids = {}
        for number, token in enumerate(self.tokens):
            if token:
                self.ids.setdefault(token, number)
        most = len(texts) - 1
        self.bos = file.integer(KEY + "bos_token_id", self.bos_default or -1, least=-1, most=most)
        self.bos = None if self.bos < 0 else self.bos
        self.unknown = file.integer(KEY + "unknown_token_id", -1, least=-1, most=most)
        self.begins = file.truth(KEY + "add_bos_token", self.begins) and self.bos is not None
        self.spaced = file.truth(KEY + "add_space_prefix", self.spaced)
        special = [token for token, kind in zip(self.tokens, self.types)
                   if kind in (UNKNOWN, CONTROL, USER) and token]
        special.sort(key=len, reverse=True)
        self.special = None
        if special:
            self.special = re.compile("(" + "|".join(map(re.escape, special)) + ")")

    def __len__(self):
        return len(self.tokens)

    def encode(self, text, bos=True):
        """Tokens of a text, after BOS if asked and if the model wants it. An empty text is BOS."""
        found = [self.bos] if bos and self.begins else []
        parts = self.special.split(text) if self.special else [text]
        after_special = True
        for n, part in enumerate(parts):
            if n % 2:
                found.append(self.ids[part])
            elif part:
                found += self.pieces(part, after_special)
            after_special = n % 2 == 1
        return found or [self.bos] * (bos and self.bos is not None)

    def known(self, numbers):
        """Those that are tokens; the unknown token in place of the others, if there is one."""
        numbers = [self.unknown if number is None else number for number in numbers]
        return [number for number in numbers if number >= 0]

    def decode(self, tokens):
        """Text of tokens; bytes that are not UTF-8 become replacement characters."""
        raw = b"".join(self.piece(p, token) for p, token in zip([None, *tokens], tokens))
        return raw.decode("utf-8", errors="replace")


class Pieces(Embedded):
    """SentencePiece: of two pairs that can be joined, the one whose piece has the higher score is
    joined first. Characters that are no piece become bytes.
    """

    bos_default, begins, spaced = 1, True, True

    def __init__(self, file):
        super().__init__(file)
        self.scores = numbers(file, "scores", len(self), "f", 0).tolist()
        self.bytes = [self.ids.get(f"<0x{byte:02X}>") for byte in range(256)]
        self.values = {token: byte for byte, token in enumerate(self.bytes)
                       if token is not None and self.types[token] == BYTE}

    def pieces(self, text, first):
        """Tokens of a text without special tokens; a space is put before the first one."""
        text = (" " + text if first and self.spaced else text).replace(" ", SPACE)
        found = []
        for symbol in join(text, self._joined):
            number = self.ids.get(symbol)
            found += self.known([self.bytes[byte] for byte in utf8(symbol)]
                                if number is None else [number])
        return found

    def _joined(self, left, right):
        number = self.ids.get(left + right)
        return None if number is None else (-self.scores[number], left + right)

    def piece(self, previous, token):
        """Bytes that ``token`` adds to the text after ``previous``, which may be None."""
        if self.types[token] in (UNKNOWN, CONTROL):
            return b""
        if token in self.values:
            return bytes([self.values[token]])
        text = self.tokens[token].replace(SPACE, " ")
        if self.spaced and previous in (None, self.bos):
            text = text.removeprefix(" ")
        return text.encode()


class BytePairs(Embedded):
    """Byte-level BPE: bytes of a word are joined in the order of the file's merges."""

    def __init__(self, file):
        self.rule = file.text(KEY + "pre", "default")
        if self.rule not in RULES:
            raise UserError(f"{file.path} cuts texts by the rule {plain(self.rule)}, and those "
                            f"that are known are {', '.join(RULES)}; name another tokenizer with "
                            "--tokenizer")
        self.whole = self.rule in WHOLE
        self.begins = self.whole
        super().__init__(file)
        merges = file.metadata.get(KEY + "merges")
        if not isinstance(merges, list):
            raise UserError(f"{file.path} lacks the merges of its tokenizer ({KEY}merges)")
        self.ranks = {}
        for rank, merge in enumerate(merges):
            left, _, right = merge.decode("utf-8", errors="replace").partition(" ")
            self.ranks.setdefault((left, right), rank)

    def pieces(self, text, first):
        """Tokens of a text without special tokens."""
        found = []
        for word in split(text, self.rule):
            symbols = "".join(characters()[byte] for byte in utf8(word))
            if self.whole and symbols in self.ids:
                found.append(self.ids[symbols])
                continue
            for symbol in join(symbols, self._joined):
                number = self.ids.get(symbol)
                found += self.known(map(self.ids.get, symbol) if number is None else [number])
        return found

    def _joined(self, left, right):
        rank = self.ranks.get((left, right))
        return None if rank is None else (rank, left + right)

    def piece(self, previous, token):
        """Bytes that ``token`` adds to a text."""
        if self.types[token] in (UNKNOWN, CONTROL):
            return b""
        text = self.tokens[token]
        if self.types[token] == USER:
            return text.encode()
        return b"".join(values().get(char, char.encode()) for char in text)


KINDS = {"llama": Pieces, "gpt2": BytePairs}


def numbers(file, name, count, kind, default):
    """An array of the tokenizer: a number for each token."""
    found = file.metadata.get(KEY + name)
    if found is None:
        return np.full(count, default)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in ("i", "u", kind) \
            or len(found) != count or not np.isfinite(found).all():
        raise UserError(f"{file.path} is damaged: {KEY}{name} must hold {count} numbers, one for "
                        "each token")
    return found


def utf8(text):
    return text.encode("utf-8", errors="surrogateescape")


@cache
def characters():
    """The printable character that stands for each byte: itself, or one beyond Latin-1."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else 256 + others.index(byte)) for byte in range(256)]


@cache
def values():
    """Bytes by the characters that stand for them."""
    return {char: bytes([byte]) for byte, char in enumerate(characters())}
