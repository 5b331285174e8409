"""Several sequences in one run: what each of them computes, and where its KV blocks lie.

Every KV head of every layer has a pool of blocks. A block table for each sequence says which of
them it uses, in order; blocks of the common beginning are in the tables of all.
"""

from dataclasses import dataclass, replace

import numpy as np

from sw.errors import UserError
from verif.reference.pattern import BLOCK


__all__ = ["FIELDS", "Pool", "Sequence", "common_tokens", "cut_sequences", "make_pool",
           "pass_in_chunks", "place_sequences", "place_rows_of_prompts"]

#: Largest block table that `paging` can name, and most lines from one head to the next.
MOST_ENTRIES, MOST_LINES = (1 << 20) - 1, (1 << 24) - 1

#: What the program loads when a sequence begins, in the order of region ``sequences``.
FIELDS = ("start", "whole", "filled", "row", "passed", "prompt", "positions", "line")


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One text of a run.

    Parameters
    ----------
    prompt : tuple of int
        Its tokens to begin with.
    positions : int
        Tokens that are seen at its end: one less than those of prompt and answer.
    start : int
        Tokens in front whose keys and values an earlier sequence has computed.
    passed : int
        First token of which logits are computed, behind those that pass in chunks.
    whole, filled : int
        End of the chunks but those of the rest; end of all chunks, which has the tokens that only
        fill the last one.
    """

    prompt: tuple
    positions: int
    start: int = 0
    passed: int = 0
    whole: int = 0
    filled: int = 0

    @property
    def written(self):
        """Positions of which keys and values are written, or were found."""
        return max(self.positions, self.filled)


@dataclass(frozen=True)
class Pool:
    """Blocks of a KV head, and which of them each sequence uses.

    Parameters
    ----------
    blocks : int
    tables : tuple of tuple of int
        For each sequence, the block in the pool of each of its own blocks.
    """

    blocks: int
    tables: tuple

    @property
    def entries(self):
        """Entries of every table in memory; those behind the end of a sequence are never used."""
        return max(map(len, self.tables))

    @property
    def unshared(self):
        """Blocks that there would be if nothing were shared."""
        return sum(map(len, self.tables))


def common_tokens(prompts):
    """Tokens in whole blocks that all prompts begin with; the last token of none is among them,
    because it is followed by a choice."""
    most = min(map(len, prompts)) - 1
    same = next((n for n in range(most) if len({prompt[n] for prompt in prompts}) > 1), most)
    return same - same % BLOCK


def cut_sequences(prompts, tokens, share=True):
    """The :class:`Sequence` of each prompt, which generates ``tokens``; the first one computes what
    all have in common."""
    common = common_tokens(prompts) if share else 0
    starts = [0, *[common] * (len(prompts) - 1)]
    return tuple(Sequence(prompt=tuple(prompt), positions=len(prompt) + tokens - 1, start=start,
                          passed=start, whole=start, filled=start)
                 for prompt, start in zip(prompts, starts))


def pass_in_chunks(sequences, chunks, context):
    """``(sequences, counts)``: the same in :class:`sw.compile.chunks.Chunks`, and how many there
    are of each shape."""
    found, total = [], [0] * len(chunks.plans)
    for s in sequences:
        counts, _ = chunks.cut(len(s.prompt) - s.start, context - s.start)
        sizes = [number * plan.chunk for number, plan in zip(counts, chunks.plans)]
        filled = s.start + sum(sizes)
        passed = min(filled, len(s.prompt) - 1)
        found.append(replace(s, whole=s.start + sizes[0], filled=filled, passed=passed))
        total = [n + number for n, number in zip(total, counts)]
    return tuple(found), tuple(total)


def make_pool(sequences, block_lines):
    """The :class:`Pool` of sequences, whose blocks have so many lines.

    The common blocks come first, then those of each sequence.
    """
    common = sequences[-1].start // BLOCK
    tables, following = [], common
    for s in sequences:
        end = following + -(-s.written // BLOCK) - common
        tables.append((*range(common), *range(following, end)))
        following = end
    pool = Pool(following, tuple(tables))
    if pool.entries > MOST_ENTRIES:
        raise UserError(f"a sequence of {pool.entries} blocks of 32 tokens is longer than a block "
                        f"table, which has {MOST_ENTRIES} entries at most")
    if pool.blocks * block_lines > MOST_LINES:
        raise UserError(f"{len(sequences)} sequences need {pool.blocks} KV blocks a head; "
                        f"instructions reach {MOST_LINES // block_lines}")
    return pool


def place_sequences(memory, task, logits_lines, row_lines):
    """Prompts, block tables and the values that each sequence begins with.

    A register counts the sequences that follow, so the last sequence comes first.
    """
    sequences, width = task.sequences, memory.config.line_bytes // 4
    memory.place_data("prompt", rows_of([s.prompt for s in reversed(sequences)], width))
    memory.place_data("tables", rows_of(task.pool.tables[::-1], width))
    first_row, first_logits, values = 0, 0, []
    for s in sequences:
        values.append((s.start, s.whole, s.filled, first_row * row_lines, s.passed, len(s.prompt),
                       s.positions, first_logits * logits_lines))
        first_row += s.filled - s.start
        first_logits += s.positions - s.passed
    # Field by field; within each the register that counts sequences is the index.
    memory.place_data("sequences", rows_of(list(zip(*reversed(values))), width))


def rows_of(lists, width):
    """Lists of numbers as rows of whole lines, all of the length of the longest."""
    longest = max(map(len, lists))
    rows = np.zeros((len(lists), -(-longest // width) * width), "<u4")
    for row, numbers in zip(rows, lists):
        row[:len(numbers)] = numbers
    return rows.tobytes()


def place_rows_of_prompts(memory, embedding, sequences):
    """Embeddings of the tokens that pass in chunks, in the order in which they are needed."""
    tokens = [np.zeros(s.filled - s.start, int) for s in sequences]
    for own, s in zip(tokens, sequences):
        given = s.prompt[s.start:s.filled]
        own[:len(given)] = given
    memory.place_rows("prompt_rows", embedding[np.concatenate(tokens)])
