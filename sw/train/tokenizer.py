"""A byte-pair-encoding tokenizer of a few hundred pieces, in the llama2.c file format.

The file holds an int32 longest piece, then for each piece a float32 score, an int32 length and its
bytes. Pieces 0, 1 and 2 are ``<unk>``, ``<s>`` and ``</s>``; 3 to 258 are the single bytes, written
``<0x0A>``; the rest are text. Encoding puts one space before the text, spells it in single
characters (bytes where a character is no piece) and joins the neighbours of the highest score
until none can be joined.

    python -m sw.train.tokenizer --data DIR --out tokenizer.bin
"""

import argparse
import re
import struct
from collections import Counter
from pathlib import Path


__all__ = ["BOS", "BYTES", "EOS", "Tokenizer", "train_tokenizer"]

BOS, EOS = 1, 2
BYTES = 3  # id of byte 0
SPECIAL = [b"<unk>", b"\n<s>\n", b"\n</s>\n"]
#: No learnt piece crosses the start of one of these chunks, so each can be encoded on its own.
CHUNK = re.compile(r"\n|[ ]?[^ \n]+|[ ]")
#: Within a chunk, pieces are letters (with inner apostrophes) or one mark.
WORD = re.compile(r"[ ]?[^\W\d_]+(?:'[a-z]+)?|[ ]?[^\w]|[ ]?[\d_]|[ ]")


class Tokenizer:
    """Text to token ids and back.

    Parameters
    ----------
    pieces : list of bytes
        the text of each id
    scores : list of float
        priority of each piece in joining; higher joins first
    """

    def __init__(self, pieces, scores):
        if len(pieces) != len(scores):
            raise ValueError(f"{len(pieces)} pieces need as many scores, not {len(scores)}")
        self.pieces = [bytes(piece) for piece in pieces]
        self.scores = [float(score) for score in scores]
        first_text = BYTES + 256
        self._ids = {piece: i for i, piece in enumerate(self.pieces) if i >= first_text}
        self._cache = {}

    def __len__(self):
        return len(self.pieces)

    @classmethod
    def load(cls, path):
        """Read a ``tokenizer.bin`` file."""
        raw = Path(path).read_bytes()
        pieces, scores, at = [], [], 4
        while at < len(raw):
            if at + 8 > len(raw):
                raise ValueError(f"{path}: the file ends inside the entry of piece {len(pieces)}")
            score, size = struct.unpack_from("<fi", raw, at)
            piece = raw[at + 8:at + 8 + size]
            if size < 0 or len(piece) != size:
                raise ValueError(f"{path}: the file ends inside piece {len(pieces)}")
            pieces.append(piece)
            scores.append(score)
            at += 8 + size
        if len(pieces) < BYTES + 256:
            raise ValueError(f"{path}: expected at least 259 pieces, not {len(pieces)}")
        return cls(pieces, scores)

    def save(self, path):
        """Write a ``tokenizer.bin`` file."""
        parts = [struct.pack("<i", max(map(len, self.pieces)))]
        for piece, score in zip(self.pieces, self.scores, strict=True):
            parts.append(struct.pack("<fi", score, len(piece)) + piece)
        Path(path).write_bytes(b"".join(parts))

    def encode(self, text, bos=True):
        """Return the ids of a text, after a start token if ``bos``."""
        ids = [BOS] if bos else []
        if text:
            for chunk in CHUNK.findall(" " + text):
                found = self._cache.get(chunk)
                if found is None:
                    found = self._cache[chunk] = self._join(chunk)
                ids += found
        return ids

    def decode(self, ids):
        """Return the text of ids, without the space that encoding puts in front."""
        raw = bytearray()
        for i in ids:
            if i in (BOS, EOS):
                continue
            raw += bytes([i - BYTES]) if BYTES <= i < BYTES + 256 else self.pieces[i]
        return raw.decode("utf-8", errors="replace").removeprefix(" ")

    def _join(self, chunk):
        ids = []
        for char in chunk:
            raw = char.encode()
            known = self._ids.get(raw)
            ids += [known] if known is not None else [BYTES + byte for byte in raw]
        while True:
            best = None
            for at, (left, right) in enumerate(zip(ids, ids[1:], strict=False)):
                if min(left, right) < BYTES + 256:
                    continue
                joined = self._ids.get(self.pieces[left] + self.pieces[right])
                if joined is not None and (best is None or self.scores[joined] > best[0]):
                    best = (self.scores[joined], at, joined)
            if best is None:
                return ids
            ids[best[1]:best[1] + 2] = [best[2]]


def train_tokenizer(texts, size=512, rarest_char=150):
    """Return a :class:`Tokenizer` of ``size`` pieces learnt from texts.

    Characters seen fewer than ``rarest_char`` times are left to the byte pieces, which leaves
    more ids to words.
    """
    words = Counter()
    for text in texts:
        for chunk in CHUNK.findall(" " + text):
            words.update(WORD.findall(chunk))
    chars = Counter()
    for word, count in words.items():
        for char in word:
            chars[char] += count
    chars.pop("\n", None)
    alphabet = [c for c, count in chars.most_common() if count >= rarest_char]
    room = size - BYTES - 256 - len(alphabet)
    if room < 0:
        raise ValueError(f"{len(alphabet)} characters do not fit in a vocabulary of {size}")
    known = set(alphabet)
    spelled = [(list(w), n) for w, n in words.items() if len(w) > 1 and known.issuperset(w)]
    merges = _learn_merges(spelled, room)
    text_pieces = [piece.encode() for piece in merges + alphabet]
    pieces = SPECIAL + [f"<0x{byte:02X}>".encode() for byte in range(256)] + text_pieces
    scores = [0.0] * (BYTES + 256) + [-float(i) for i in range(len(text_pieces))]
    return Tokenizer(pieces, scores)


def _learn_merges(spelled, room):
    """Return the ``room`` joined pieces found by always joining the commonest pair."""
    merges = []
    while len(merges) < room:
        pairs = Counter()
        for parts, count in spelled:
            for pair in zip(parts, parts[1:], strict=False):
                pairs[pair] += count
        if not pairs:
            raise ValueError(f"the text is too short: it gives {len(merges)} of {room} pieces")
        (left, right), _ = max(pairs.items(), key=lambda item: (item[1], item[0]))
        piece = left + right
        if piece not in merges:
            merges.append(piece)
        for parts, _ in spelled:
            at = 0
            while at < len(parts) - 1:
                if parts[at] == left and parts[at + 1] == right:
                    parts[at:at + 2] = [piece]
                at += 1
    return merges


def main():
    """Learn a tokenizer from the training text and write it."""
    from sw.train.corpus import training_stories

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", required=True, help="folder with the training text")
    parser.add_argument("--out", required=True, help="tokenizer.bin to write")
    parser.add_argument("--size", type=int, default=512, help="number of pieces")
    args = parser.parse_args()
    stories = training_stories(args.data)
    tokenizer = train_tokenizer(stories, args.size)
    tokenizer.save(args.out)
    tokens = sum(len(tokenizer.encode(story)) for story in stories)
    chars = sum(map(len, stories))
    print(f"{args.out}: {len(tokenizer)} pieces, {tokens} tokens, {chars / tokens:.3f} chars/token")


if __name__ == "__main__":
    main()
