"""Text to tokens and back, exactly as llama2.c does it; and which tokenizer a model has.

The file holds an int32 (longest piece), then for each piece a float32 score, an int32 length and
its bytes. Tokens 3 to 258 are the single bytes.
"""

import heapq
import struct
from pathlib import Path

from sw.errors import UserError
from sw.models import is_gguf


__all__ = ["BOS", "EOS", "Tokenizer", "join"]

BOS, EOS = 1, 2
BYTES = 3
LONGEST = 1 << 16


class Tokenizer:
    """Byte-pair encoding by best score.

    Parameters
    ----------
    pieces : list of bytes
        Text of each token.
    scores : list of float
        Of two pairs that can be joined, the one whose piece has the higher score is joined first.
    """

    def __init__(self, pieces, scores):
        self.pieces = [bytes(piece) for piece in pieces]
        self.scores = list(scores)
        self.ids = {}
        for number, piece in enumerate(self.pieces):
            self.ids.setdefault(piece, number)

    def __len__(self):
        return len(self.pieces)

    @classmethod
    def load(cls, path):
        """Read a tokenizer file, or that of a GGUF file; :class:`UserError` says what is wrong."""
        path = Path(path)
        if is_gguf(path):
            from sw.tokenizer_gguf import load
            return load(path)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"the tokenizer file {path} does not exist") from None
        except OSError as error:
            raise UserError(f"the tokenizer file {path} cannot be read: {error.strerror}") from None
        pieces, scores, at = [], [], 4
        while at < len(raw):
            if at + 8 > len(raw):
                raise UserError(f"{path} ends inside the entry of token {len(pieces)}")
            score, size = struct.unpack_from("<fi", raw, at)
            at += 8
            if score != score or not 0 <= size <= LONGEST:
                raise UserError(f"{path} is not a llama2.c tokenizer: token {len(pieces)} has "
                                f"score {score} and length {size}")
            if at + size > len(raw):
                raise UserError(f"{path} ends inside token {len(pieces)}")
            pieces.append(raw[at:at + size])
            scores.append(score)
            at += size
        if len(pieces) < BYTES + 256:
            raise UserError(f"{path} is not a llama2.c tokenizer: it holds {len(pieces)} tokens, "
                            f"fewer than the {BYTES + 256} that every one begins with")
        return cls(pieces, scores)

    @classmethod
    def beside(cls, model_path, vocabulary, path=None):
        """The tokenizer of a model: ``path``, or the one in the model's file or beside it.

        Beside a model of 512 tokens, ``tok512.bin`` is preferred to ``tokenizer.bin``.
        """
        if path is None and is_gguf(model_path):
            path = model_path
        if path is None:
            folder = Path(model_path).parent
            names = [f"tok{vocabulary}.bin", "tokenizer.bin"]
            found = [folder / name for name in names if (folder / name).is_file()]
            if not found:
                raise UserError(f"there is no tokenizer beside {model_path}: put "
                                f"{' or '.join(names)} there, or name one with --tokenizer")
            path = found[0]
        tokenizer = cls.load(path)
        if len(tokenizer) != vocabulary:
            raise UserError(f"the tokenizer {path} has {len(tokenizer)} tokens, but the model "
                            f"{model_path} has {vocabulary}")
        return tokenizer

    def encode(self, text, bos=True):
        """Tokens of a text, after BOS if asked; a space is put before a text that is not empty."""
        tokens = []
        for char in (" " + text if text else ""):
            raw = char.encode("utf-8", errors="surrogateescape")
            known = self.ids.get(raw)
            tokens += [byte + BYTES for byte in raw] if known is None else [known]
        return [BOS] * bos + join(tokens, self._joined)

    def _joined(self, left, right):
        """What two tokens can be joined to, after its priority: the smallest comes first."""
        joined = self.ids.get(self.pieces[left] + self.pieces[right])
        return None if joined is None else (-self.scores[joined], joined)

    def piece(self, previous, token):
        """Bytes that ``token`` adds to the text after ``previous``."""
        if token in (BOS, EOS):
            return b""
        if BYTES <= token < BYTES + 256:
            return bytes([token - BYTES])
        piece = self.pieces[token]
        return piece[1:] if previous == BOS and piece.startswith(b" ") else piece

    def decode(self, tokens):
        """Text of tokens; bytes that are not UTF-8 become replacement characters."""
        previous = [BOS, *tokens]
        raw = b"".join(self.piece(p, token) for p, token in zip(previous, tokens))
        return raw.decode("utf-8", errors="replace")


def join(symbols, joined):
    """Join neighbours of a list, best pair first and leftmost among equals, until none can be.

    ``joined(left, right)`` gives the priority of a pair, smallest first, and what it becomes; None
    if it cannot be joined.
    """
    symbols = list(symbols)
    after = list(range(1, len(symbols) + 1))
    before = list(range(-1, len(symbols) - 1))
    heap = []

    def consider(left):
        right = after[left]
        if left < 0 or right >= len(symbols):
            return
        found = joined(symbols[left], symbols[right])
        if found is not None:
            heapq.heappush(heap, (found[0], left, right, symbols[left], symbols[right], found[1]))

    for left in range(len(symbols) - 1):
        consider(left)
    while heap:
        _, left, right, left_symbol, right_symbol, found = heapq.heappop(heap)
        if symbols[left] != left_symbol or symbols[right] != right_symbol or after[left] != right:
            continue  # one of the two has been joined since
        symbols[left], symbols[right] = found, None
        after[left] = after[right]
        if after[left] < len(symbols):
            before[after[left]] = left
        if before[left] >= 0:
            consider(before[left])
        consider(left)
    return [symbol for symbol in symbols if symbol is not None]
