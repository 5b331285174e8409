"""Learns a byte-pair-encoding tokenizer of a few hundred pieces and writes it as llama2.c does.

The file holds an int32 longest piece, then for each piece a float32 score, an int32 length and its
bytes. Pieces 0, 1 and 2 are ``<unk>``, ``<s>`` and ``</s>``; 3 to 258 are the single bytes, written
``<0x0A>``; the rest are text.

    python -m sw.train.tokenizer --data DIR --out tokenizer.bin
"""

import argparse
import re
import struct
from collections import Counter
from pathlib import Path

from sw.tokenizer import BOS, Tokenizer
from sw.train.corpus import training_stories


__all__ = ["encode_texts", "train_tokenizer", "write_tokenizer"]

BYTES = 3  # id of byte 0
SPECIAL = [b"<unk>", b"\n<s>\n", b"\n</s>\n"]
#: No learnt piece crosses the start of one of these chunks.
CHUNK = re.compile(r"\n|[ ]?[^ \n]+|[ ]")
#: Within a chunk, pieces are letters (with inner apostrophes) or one mark.
WORD = re.compile(r"[ ]?[^\W\d_]+(?:'[a-z]+)?|[ ]?[^\w]|[ ]?[\d_]|[ ]")


def write_tokenizer(path, tokenizer):
    """Write a :class:`~sw.tokenizer.Tokenizer` as a ``tokenizer.bin`` file."""
    parts = [struct.pack("<i", max(map(len, tokenizer.pieces)))]
    for piece, score in zip(tokenizer.pieces, tokenizer.scores, strict=True):
        parts.append(struct.pack("<fi", score, len(piece)) + piece)
    Path(path).write_bytes(b"".join(parts))


def encode_texts(tokenizer, texts):
    """Return the ids of each text, from the start token on.

    They are those of :meth:`~sw.tokenizer.Tokenizer.encode`, for a tokenizer of
    :func:`train_tokenizer`; each word is encoded once, which is faster for many texts.
    """
    line = tokenizer.encode("\n", bos=False)  # the space put in front joins no line break
    known = {}

    def ids(chunk):
        if chunk not in known:
            known[chunk] = tokenizer.encode("\n" + chunk, bos=False)[len(line):]
        return known[chunk]

    return [[BOS, *(i for chunk in CHUNK.findall(" " + text if text else "")
             for i in ids(chunk))]
            for text in texts]


def train_tokenizer(texts, size=512, rarest_char=150):
    """Return a :class:`~sw.tokenizer.Tokenizer` of ``size`` pieces learnt from texts.

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
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", required=True, help="folder with the training text")
    parser.add_argument("--out", required=True, help="tokenizer.bin to write")
    parser.add_argument("--size", type=int, default=512, help="number of pieces")
    args = parser.parse_args()
    stories = training_stories(args.data)
    tokenizer = train_tokenizer(stories, args.size)
    write_tokenizer(args.out, tokenizer)
    tokens = sum(map(len, encode_texts(tokenizer, stories)))
    chars = sum(map(len, stories))
    print(f"{args.out}: {len(tokenizer)} pieces, {tokens} tokens, {chars / tokens:.3f} chars/token")


if __name__ == "__main__":
    main()
