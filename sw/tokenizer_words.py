"""Cuts a text into the words inside which byte-level BPE joins bytes.

The rules are those of the tokenizers' own files, by the names under which llama.cpp's converter
writes them to GGUF files as ``tokenizer.ggml.pre``. A rule is a list of patterns: each cuts what
the ones before it left whole, into its matches and what is between them.
"""

import re
import unicodedata
from functools import cache


__all__ = ["RULES", "split"]

#: White space as Unicode says it; that of :mod:`re` has four control characters more.
SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

SHORT = "'s|'t|'re|'ve|'m|'ll|'d"
SHORT_ANY_CASE = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#: In patterns ``{L}``, ``{N}``, ... are the characters of a category, ``{s}`` is white space.
GPT2 = SHORT + "| ?[{L}]+| ?[{N}]+| ?[^{s}{L}{N}]+|[{s}]+(?![^{s}])"
DIGITS = "[{N}]"


def llama3(digits):
    """The pattern of Llama 3, in which numbers are cut by another one."""
    return (SHORT_ANY_CASE + "|[^\r\n{L}{N}]?[{L}]+|" + digits
            + "| ?[^{s}{L}{N}]+[\r\n]*|[{s}]*[\r\n]+|[{s}]+(?![^{s}])|[{s}]+")


UPPER, LOWER = "[{Lu}{Lt}{Lm}{Lo}{M}]", "[{Ll}{Lm}{Lo}{M}]"
TEKKEN = (f"[^\r\n{{L}}{{N}}]?{UPPER}*{LOWER}+|[^\r\n{{L}}{{N}}]?{UPPER}+{LOWER}*"
          "|[{N}]| ?[^{s}{L}{N}]+[\r\n/]*|[{s}]*[\r\n]+|[{s}]+(?![^{s}])|[{s}]+")

#: Patterns by the names of rules.
RULES = {
    **dict.fromkeys(("gpt-2", "olmo", "mpt", "jais", "phi-2", "exaone4", "trillion",
                     "granite-docling"), (GPT2,)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone",
                     "minerva-7b"), (DIGITS, GPT2)),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "dbrx", "smaug-bpe", "falcon3", "pixtral"),
                    (llama3("[{N}]{{1,3}}"),)),
    **dict.fromkeys(("qwen2", "stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan"),
                    (llama3("[{N}]"),)),
    "tekken": (TEKKEN,),
    "default": ("[{P}$+<=>^~|]+", GPT2, "[{N}]+", "[0-9][0-9][0-9]"),
}


CATEGORIES = "L", "M", "N", "P", "Lu", "Ll", "Lt", "Lm", "Lo"
#: Where letters, marks, numbers and signs are.
ASSIGNED = *range(0x32400), *range(0xE0000, 0xE0200)


@cache
def runs():
    """Neighbours of the same Unicode category: first and last code, and its name."""
    found = []
    for code in ASSIGNED:
        name = unicodedata.category(chr(code))
        if found and found[-1][1] == code - 1 and found[-1][2] == name:
            found[-1][1] = code
        else:
            found.append([code, code, name])
    return found


def category(name):
    """Characters of a Unicode category, or of all that begin with a letter, for a pattern."""
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last, kind in runs()
                   if kind.startswith(name))


@cache
def patterns(rule):
    """Compiled patterns of a rule."""
    characters = {name: category(name) for name in CATEGORIES} | {"s": SPACE}
    return [re.compile(pattern.format_map(characters)) for pattern in RULES[rule]]


def split(text, rule):
    """The words of a text; joined they are the text again."""
    words = [text] if text else []
    for pattern in patterns(rule):
        cut = []
        for word in words:
            at = 0
            for match in pattern.finditer(word):
                if match.end() > match.start():
                    cut += [word[at:match.start()]] if match.start() > at else []
                    cut.append(match.group())
                    at = match.end()
            cut += [word[at:]] if at < len(word) else []
        words = cut
    return words
