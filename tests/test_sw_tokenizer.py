"""The tokenizer against the procedure of llama2.c, written naively."""

import struct
from pathlib import Path

import numpy as np
import pytest

from sw.errors import UserError
from sw.tokenizer import BOS, Tokenizer
from tests.models import save_tokenizer


PIECES = [" ", "a", "b", "c", "t", "h", "e", "th", "the", " the", "he", "ab", "abc", "bc", "ca",
          "é", "tt", "aa", "aaa", " a"]


def naive(tokenizer, text):
    """Tokens as llama2.c finds them: the best pair of the whole text, again and again."""
    ids = {piece: n for n, piece in reversed(list(enumerate(tokenizer.pieces)))}
    tokens = []
    for char in " " + text if text else "":
        raw = char.encode()
        tokens += [ids[raw]] if raw in ids else [byte + 3 for byte in raw]
    while True:
        best = None
        for at in range(len(tokens) - 1):
            joined = ids.get(tokenizer.pieces[tokens[at]] + tokenizer.pieces[tokens[at + 1]])
            if joined is not None and (best is None or tokenizer.scores[joined] > best[0]):
                best = tokenizer.scores[joined], at, joined
        if best is None:
            return [BOS, *tokens]
        tokens[best[1]:best[1] + 2] = [best[2]]


@pytest.fixture
def path(tmp_path):
    return save_tokenizer(tmp_path / "tokenizer.bin", 300, PIECES)


def test_encoding_is_that_of_llama2c(path):
    tokenizer = Tokenizer.load(path)
    rng = np.random.default_rng(1)
    for n in range(200):
        # Half of the time scores are equal here and there, so that the leftmost pair decides.
        tokenizer.scores = list(rng.integers(-6, 0, 300) if n % 2 else rng.permutation(300))
        text = "".join(rng.choice(list("abcthe é\n"), rng.integers(0, 30)))
        assert tokenizer.encode(text) == naive(tokenizer, text), (n, text)


def test_text_comes_back(path):
    tokenizer = Tokenizer.load(path)
    for text in ("the cab", "naïve – 漢字\n", "  two spaces", "\x00"):
        tokens = tokenizer.encode(text)
        assert tokens[0] == BOS
        assert tokenizer.decode(tokens[1:]) == text
    assert tokenizer.encode("") == [BOS]
    assert tokenizer.encode("", bos=False) == []


def test_a_space_is_dropped_only_after_the_start(path):
    tokenizer = Tokenizer.load(path)
    space = tokenizer.ids[b" the"]
    assert tokenizer.decode([space, space]) == "the the"
    assert tokenizer.piece(BOS, 3 + 0x41) == b"A"
    assert tokenizer.piece(5, BOS) == b""


def sentence(action):
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_damaged_files_are_refused(tmp_path, path):
    raw = path.read_bytes()
    assert "does not exist" in sentence(lambda: Tokenizer.load(tmp_path / "no.bin"))
    hundred = 4 + sum(8 + len(piece) for piece in Tokenizer.load(path).pieces[:100])
    for end, wrong in ((len(raw) - 1, "ends inside token 299"), (8, "inside the entry of token 0"),
                       (hundred, "holds 100 tokens, fewer than the 259")):
        path.write_bytes(raw[:end])
        assert wrong in sentence(lambda: Tokenizer.load(path))
    path.write_bytes(raw[:4] + struct.pack("<fi", 0.0, -5) + raw[12:])
    assert "has score 0.0 and length -5" in sentence(lambda: Tokenizer.load(path))


def test_the_file_beside_the_model_is_found(tmp_path, path):
    model = tmp_path / "model.bin"
    assert len(Tokenizer.beside(model, 300)) == 300
    assert "has 300 tokens, but the model" in sentence(lambda: Tokenizer.beside(model, 301))
    assert "there is no tokenizer beside" in sentence(
        lambda: Tokenizer.beside(Path("/nowhere/model.bin"), 512))
    save_tokenizer(tmp_path / "tok512.bin", 512)
    assert len(Tokenizer.beside(model, 512)) == 512
    assert len(Tokenizer.beside(model, 300, path)) == 300
