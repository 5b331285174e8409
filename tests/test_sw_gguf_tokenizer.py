"""Tokenizers in GGUF files, against llama2.c's and against a naive byte-level BPE."""

import gguf
import numpy as np
import pytest

from sw.cli import main
from sw.errors import UserError
from sw.tokenizer import Tokenizer
from sw.tokenizer_gguf import BytePairs, Pieces, characters, load
from sw.tokenizer_words import RULES, split
from tests.gguf_files import Type, save_gguf
from tests.models import random_model, save_tokenizer
from tests.test_sw_tokenizer import PIECES, sentence


NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6


def write(path, add):
    """A GGUF file that holds a tokenizer only."""
    writer = gguf.GGUFWriter(path, "llama")
    add(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


# Pieces with scores

def pieces_of(tokenizer, **more):
    """Writes a tokenizer of llama2.c as SentencePiece."""
    def add(writer):
        tokens = [piece.decode().strip("\n").replace(" ", "\u2581") for piece in tokenizer.pieces]
        writer.add_tokenizer_model("llama")
        writer.add_token_list([token.encode() for token in tokens])
        writer.add_token_scores([float(score) for score in tokenizer.scores])
        writer.add_token_types([UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256,
                                *[NORMAL] * (len(tokens) - 259)])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        for key, value in more.items():
            getattr(writer, key)(value)
    return add


@pytest.fixture
def llama2c(tmp_path):
    return Tokenizer.load(save_tokenizer(tmp_path / "tokenizer.bin", 300, PIECES))


def test_pieces_are_joined_as_in_llama2c(tmp_path, llama2c):
    rng = np.random.default_rng(1)
    for n in range(6):
        llama2c.scores = list(rng.integers(-6, 0, 300) if n % 2 else rng.permutation(300))
        tokenizer = load(write(tmp_path / f"{n}.gguf", pieces_of(llama2c)))
        assert isinstance(tokenizer, Pieces) and len(tokenizer) == 300
        for _ in range(50):
            text = "".join(rng.choice(list("abcthe é\n漢"), rng.integers(0, 30)))
            tokens = tokenizer.encode(text)
            assert tokens == llama2c.encode(text), (n, text)
            assert tokenizer.decode(tokens) == text
            for pair in zip([None, *tokens], tokens):
                assert tokenizer.piece(*pair) == llama2c.piece(*pair)


def test_the_space_before_a_text_and_bos_are_the_files_choice(tmp_path, llama2c):
    tokenizer = load(write(tmp_path / "t.gguf", pieces_of(
        llama2c, add_add_space_prefix=False, add_add_bos_token=False)))
    assert tokenizer.encode("the") == [tokenizer.ids["the"]]
    assert tokenizer.decode(tokenizer.encode(" the")) == " the"
    assert tokenizer.encode("") == [1] and tokenizer.encode("", bos=False) == []


# Byte-level BPE

def bytes_of(merges, rule="gpt-2", special=("<|end|>",), missing=(), **more):
    """Writes a tokenizer of bytes, merges and special tokens."""
    def add(writer):
        tokens = [char for char in characters() if char not in missing]
        tokens += ["".join(merge) for merge in merges]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(rule)
        writer.add_token_list([token.encode() for token in [*tokens, *special]])
        writer.add_token_merges([" ".join(merge).encode() for merge in merges])
        writer.add_token_types([NORMAL] * len(tokens) + [CONTROL] * len(special))
        for key, value in more.items():
            getattr(writer, key)(value)
    return add


MERGES = [("t", "h"), ("Ġ", "t"), ("th", "e"), ("Ġ", "the"), ("Ġt", "h"), ("Ġth", "e"), ("a", "a"),
          ("aa", "aa"), ("Ã", "©"), ("1", "2"), ("Ġ", "Ġ"), ("'", "s"), ("e", "e")]
ONE = [("q", "q")]


def naive(tokenizer, word):
    """Byte-level BPE of a word: the first merge of the list that fits, leftmost, until none does.
    """
    symbols = [characters()[byte] for byte in word.encode()]
    while True:
        ranks = {at: tokenizer.ranks[pair] for at, pair in enumerate(zip(symbols, symbols[1:]))
                 if pair in tokenizer.ranks}
        if not ranks:
            return [tokenizer.ids[symbol] for symbol in symbols]
        at = min(ranks, key=lambda n: (ranks[n], n))
        symbols[at:at + 2] = ["".join(symbols[at:at + 2])]


def test_bytes_are_joined_in_the_order_of_merges(tmp_path):
    tokenizer = load(write(tmp_path / "t.gguf", bytes_of(MERGES)))
    assert isinstance(tokenizer, BytePairs)
    rng = np.random.default_rng(1)
    for _ in range(300):
        text = "".join(rng.choice(list("thea  é12's\n漢"), rng.integers(0, 40)))
        tokens = tokenizer.encode(text)
        assert tokens == [token for word in split(text, "gpt-2")
                          for token in naive(tokenizer, word)], text
        assert tokenizer.decode(tokens) == text


def test_a_word_that_is_a_token_may_stay_whole(tmp_path):
    merges = [("h", "e"), ("t", "he")]
    texts = {rule: load(write(tmp_path / f"{rule}.gguf", bytes_of(
        merges, rule, ("the", "x"), add_bos_token_id=256))) for rule in ("gpt-2", "llama-bpe")}
    assert texts["gpt-2"].encode("the the") == [257, 32, 257]
    assert texts["llama-bpe"].encode("the the")[:2] == [256, 257]
    assert texts["llama-bpe"].encode("the", bos=False) == [257]


def test_special_tokens_are_found_and_not_shown(tmp_path):
    tokenizer = load(write(tmp_path / "t.gguf", bytes_of(
        ONE, special=("<|end|>", "<|end|>x", "<|"), add_bos_token_id=258)))
    assert tokenizer.encode("a<|end|>x<|end|>") == [ord("a"), 258, 257]
    assert tokenizer.decode([ord("a"), 257, 258, ord("b")]) == "ab"
    assert tokenizer.encode("") == [258]


def test_bytes_that_are_no_token_become_the_unknown_one(tmp_path):
    add = bytes_of(ONE, missing=("a",), add_unk_token_id=256)
    assert load(write(tmp_path / "t.gguf", add)).encode("ba") == [ord("b") - 1, 256]
    assert load(write(tmp_path / "u.gguf", bytes_of(ONE, missing=("a",)))).encode("ba") == [97]


#: As the package tokenizers 0.23.3 cuts it with the rules of these models' files.
TEXT = "It's  12345 naïve, WE'LL go...\n\n\tэто漢字½ "


@pytest.mark.parametrize("rule, words", [
    ("gpt-2", "It|'s| | 12345| naïve|,| WE|'|LL| go|...|\n\n|\t|это漢字|½| "),
    ("smollm", "It|'s|  |1|2|3|4|5| naïve|,| WE|'|LL| go|...|\n\n|\t|это漢字|½| "),
    ("llama-bpe", "It|'s| | |123|45| naïve|,| WE|'LL| go|...\n\n|\tэто漢字|½| "),
    ("qwen2", "It|'s| | |1|2|3|4|5| naïve|,| WE|'LL| go|...\n\n|\tэто漢字|½| "),
    ("tekken", "It|'s| | |1|2|3|4|5| naïve|,| WE|'LL| go|...\n\n|\tэто漢字|½| "),
])
def test_words_are_cut_as_in_the_models_files(rule, words):
    assert split(TEXT, rule) == words.split("|")


@pytest.mark.parametrize("rule", RULES)
def test_words_make_the_text_again(rule):
    rng = np.random.default_rng(1)
    for _ in range(30):
        text = "".join(rng.choice(list("aB1 's\n\r\t.,漢é½\x1c\u3000\u0301"), rng.integers(0, 40)))
        assert "".join(split(text, rule)) == text


# Files

def test_the_tokenizer_is_the_one_in_the_model_file(tmp_path, llama2c):
    path = save_gguf(random_model(), tmp_path / "m.gguf", tokenizer=pieces_of(llama2c))
    assert isinstance(Tokenizer.beside(path, 300), Pieces)
    assert isinstance(Tokenizer.beside(path, 300, tmp_path / "tokenizer.bin"), Tokenizer)
    assert "has 300 tokens, but the model" in sentence(lambda: Tokenizer.beside(path, 301))


@pytest.mark.parametrize("add, wrong", [
    (lambda w: w.add_tokenizer_model("bert"), "a tokenizer of the kind 'bert', and those that can "
                                              "be used are llama and gpt2"),
    (lambda w: None, "a tokenizer of the kind 'none'"),
    (lambda w: w.add_tokenizer_model("llama"), "lacks the tokens of its tokenizer"),
    (bytes_of(ONE, "odd"), "cuts texts by the rule 'odd', and those that are known are gpt-2"),
    (bytes_of(ONE, add_bos_token_id=300), "tokenizer.ggml.bos_token_id must be a whole number "
                                          "from -1 to 257, not 300"),
    (bytes_of([]), "lacks the merges of its tokenizer"),
], ids=lambda value: "" if callable(value) else str(value)[:20])
def test_what_cannot_be_used_is_refused(tmp_path, add, wrong):
    path = write(tmp_path / "t.gguf", add)
    assert wrong in sentence(lambda: load(path))


@pytest.mark.parametrize("key, values", [
    ("add_token_types", [1, 1]), ("add_token_scores", [0.0]),
    ("add_token_scores", [float("nan")] * 3)], ids=str)
def test_arrays_must_have_a_number_for_each_token(tmp_path, key, values):
    def add(writer):
        writer.add_tokenizer_model("llama")
        writer.add_token_list([b"a", b"b", b"c"])
        getattr(writer, key)(values)

    path = write(tmp_path / "t.gguf", add)
    assert "must hold 3 numbers, one for each token" in sentence(lambda: load(path))


def test_tokens_must_be_utf8(tmp_path):
    def add(writer):
        writer.add_tokenizer_model("llama")
        writer.add_token_list([b"a", b"\xff", b"c"])

    path = write(tmp_path / "t.gguf", add)
    assert "a token of its tokenizer is not UTF-8" in sentence(lambda: load(path))


# The command line

def tokamac(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    output = capsys.readouterr()
    assert not end.value.code, output.err
    return output


def test_run_takes_a_gguf_file_as_it_is(tmp_path, capsys, llama2c):
    path = save_gguf(random_model(), tmp_path / "m.gguf", {"attn_v": Type.Q5_0, "": Type.Q8_0},
                     tokenizer=pieces_of(llama2c, add_add_bos_token=False))
    output = tokamac(capsys, "run", path, "--device", "emulator", "--prompt", "the cab",
                     "--tokens", 2, "--check")
    assert output.out.startswith("the cab")
    assert "bit for bit" in output.out and "m, int8" in output.out
    assert "note: 2 matrices were rounded again, from Q5_0 to int8" in output.err


def test_run_chooses_a_machine_with_the_files_formats(tmp_path, capsys, llama2c):
    path = save_gguf(random_model(), tmp_path / "m.gguf", {"embd": Type.Q8_0, "": Type.MXFP4},
                     tokenizer=pieces_of(llama2c))
    output = tokamac(capsys, "run", path, "--device", "emulator", "--tokens", 1)
    assert "formats: " in output.out and "m, mxfp4 and int8" in output.out
    assert "matmul" in tokamac(capsys, "listing", path, "--tokens", 1).out


def test_text_is_not_a_gguf_file(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_text("Once upon a time there was a text file.")
    with pytest.raises(UserError, match="is not a GGUF file"):
        Tokenizer.load(path)
