"""The text of the bundled model: clean stories from the data folder, and the held-out tokens.

The data folder holds ``tinystories_a.txt`` (stories ended by ``<|endoftext|>``) and
``tinystories_b.txt`` (stories that follow each other without a mark). The last tokens of the
second are never trained on.
"""

import re
from pathlib import Path


__all__ = ["HELD_OUT_TOKENS", "clean", "held_out", "training_stories"]

HELD_OUT_TOKENS = 20_000
#: Characters cut off the training text: the held-out tokens for any tokenizer of up to 2.5
#: characters a token, so that the split does not depend on the tokenizer.
HELD_OUT_CHARS = 50_000
MARKS = {"â€œ": '"', "â€™": "'", "â€“": "-", "â€”": "-", "â€˜": "'", "â€¦": "...", "â€": '"',
         "“": '"', "”": '"', "’": "'", "‘": "'", "–": "-", "—": "-", "…": "..."}
OPENING = re.compile(r"(?:Once upon a time|Once there (?:was|were|lived)|Once, there|"
                     r"There once was|Long ago)")
WEAK_OPENING = re.compile(r"(?:One (?:\w+ )?day|There was|Once |[A-Z]\w+ (?:and [A-Z]\w+ )?"
                          r"(?:was a|were|is a|are|loved to|likes? to|love to) )")


def clean(text):
    """Return text in plain quotes and single line breaks, free of stray spaces."""
    for bad, good in MARKS.items():
        text = text.replace(bad, good)
    text = re.sub(r"[ \t]*\n\s*", "\n", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def read_file(path):
    """Return the text of a file of the data folder."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"the data folder must hold {path.name}: no file {path}")
    return path.read_text(encoding="utf-8")


def split_unmarked(text):
    """Return the stories of a text that has no mark between them.

    A story starts at a line after a single line break with an opening phrase; phrases that also
    occur inside stories count only after a story whose own paragraphs have blank lines between.
    """
    stories, story, blank = [], "", False
    for paragraph in re.split(r"(\n+)", text):
        if paragraph.startswith("\n"):
            gap = paragraph
            blank |= len(gap) > 1
            story += "\n"
            continue
        after_break = story.endswith("\n") and gap == "\n"
        if after_break and (OPENING.match(paragraph) or blank and WEAK_OPENING.match(paragraph)):
            stories.append(story)
            story, blank = "", False
        story += paragraph
    return [clean(story) for story in [*stories, story] if clean(story)]


def training_stories(folder):
    """Return the TinyStories texts that the tokenizer and the model learn from."""
    marked = read_file(Path(folder) / "tinystories_a.txt").split("<|endoftext|>")
    unmarked = split_unmarked(read_file(Path(folder) / "tinystories_b.txt")[:-HELD_OUT_CHARS])
    return [clean(story) for story in marked if clean(story)] + unmarked


def held_out(folder, tokenizer):
    """Return the ids of the held-out tokens: the last of ``tinystories_b.txt``."""
    text = clean(read_file(Path(folder) / "tinystories_b.txt")[-HELD_OUT_CHARS:])
    ids = tokenizer.encode(text, bos=False)
    if len(ids) < HELD_OUT_TOKENS:
        raise ValueError(f"the held-out text gives {len(ids)} tokens, not {HELD_OUT_TOKENS}: "
                         "the tokenizer does not fit the text")
    return ids[-HELD_OUT_TOKENS:]
