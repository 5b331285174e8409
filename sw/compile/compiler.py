"""Compiles a model for a machine: quantise, plan, lay out, write the program."""

from dataclasses import dataclass, replace

import numpy as np

from hw.formats import KV
from hw.isa import RULES
from sw.errors import UserError
from verif.reference.tape import pack

from .assembler import Assembler, listing
from .checks import check_formats, check_head, check_pages, check_task
from .chunks import Chunks, chunk_plans
from .kv import kv_layers, lists_of_blocks
from .layers import QuantisedModel, matrices_of, quantise_model, row_unit
from .memory import MemoryMap
from .paging import (
    Sequence,
    cut_sequences,
    make_pool,
    pass_in_chunks,
    place_rows_of_prompts,
    place_sequences,
)
from .plan import Plan, chunk_matrices, make_plan
from .program import Sampling, Task, write_program
from .sparse import find_sparse
from .writer import COUNTERS, REGISTERS


__all__ = ["Compiled", "compile_model"]


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A model ready to run.

    Parameters
    ----------
    model : :class:`sw.compile.layers.QuantisedModel`
    config : :class:`hw.config.Config`
    task : :class:`sw.compile.program.Task`
    plan : :class:`sw.compile.plan.Plan`
    chunks : :class:`sw.compile.chunks.Chunks` or None
        None if all tokens pass one by one.
    memory : :class:`sw.compile.memory.MemoryMap`
    kv : tuple of :class:`sw.compile.kv.KvLayer`
        Where keys and values lie, from region ``kv`` on.
    prompt : list of int
        The first one, if there are several sequences.
    words : list of int
        The program.
    assembler : :class:`sw.compile.assembler.Assembler`
    """

    model: QuantisedModel
    config: object
    task: Task
    plan: Plan
    chunks: Chunks | None
    memory: MemoryMap
    kv: tuple
    prompt: list
    words: list
    assembler: Assembler

    @property
    def chunk(self):
        """:class:`sw.compile.chunk_shape.ChunkPlan` of most chunks, or None."""
        return self.chunks and self.chunks.main

    @property
    def sequences(self):
        """The :class:`sw.compile.paging.Sequence` of each text."""
        task = self.task
        return task.sequences or (Sequence(prompt=tuple(self.prompt), positions=task.positions,
                                           passed=task.passed, whole=task.whole,
                                           filled=task.filled),)

    @property
    def registers(self):
        """Name to number of each register, one name for each."""
        other = "page" if self.task.sequences else "sequence"
        return {name: number for name, number in REGISTERS.items() if name != other}

    def listing(self):
        """The program as text."""
        return listing(self.words, labels=self.assembler.labels,
                       comments=self.assembler.comments(), counters=COUNTERS,
                       registers=self.registers, symbols=self.memory.symbols())

    def layout(self):
        """The memory map as text."""
        line = self.config.line_bytes
        rows = [f"{'region':12s} {'line':>10s} {'address':>14s} {'bytes':>14s}"]
        rows += [f"{r.name:12s} {r.line:10d} {r.line * line:#14x} {r.size:14d}"
                 for r in self.memory.regions.values()]
        return "\n".join(rows) + "\n"

    def logits_address(self, position, number=0):
        """``(byte address, elements)`` of each chunk of the logits of a position (check mode) of a
        sequence, from ``passed`` on.
        """
        parts, line = [], self.memory.regions["logits"].line
        chunk_lines = [self.memory.row_lines(chunk.blocks) for chunk in self.plan.chunks]
        before = sum(s.positions - s.passed for s in self.sequences[:number])
        line += (before + position - self.sequences[number].passed) * sum(chunk_lines)
        for chunk, lines in zip(self.plan.chunks, chunk_lines):
            parts.append((line * self.config.line_bytes, 32 * chunk.blocks))
            line += lines
        return parts


def compile_model(model, config, prompt, tokens, *, format=None, activation="int8",
                  rule="floor", kv="int8", sampling=None, check=False, calibrate=None,
                  chunk=None, share=True, pin=()):
    """Compile a model for a machine and a task.

    Parameters
    ----------
    model : :class:`sw.models.Model` or :class:`sw.compile.layers.QuantisedModel`
        The latter must have been quantised for ``config.slices``.
    config : :class:`hw.config.Config`
    prompt : list of int, or list of such lists
        Tokens to begin with, at least one; a list of each, if there are several sequences.
    tokens : int
        Tokens to generate, at least one, for each sequence.
    format, activation, rule, kv : str
        For a model that is not quantised; see :class:`sw.compile.layers.QuantisedModel`.
    sampling : :class:`sw.compile.program.Sampling`
        By default the likeliest token is taken.
    check : bool
        Write logits to memory, of the last position of a prompt and of all that do not pass in a
        chunk.
    calibrate : function, optional
        Gives the model with some of its weights rounded already, as :func:`sw.calibrate.choose`
        does; for a model that is not quantised.
    chunk : int, optional
        Tokens of the prompt that pass through the model together, at most; by default as many as
        fit. 1: one by one.
    share : bool
        Whether several sequences share the keys and values of their common beginning.
    pin : tuple of str
        What the cache of the machine holds: ``weights``, ``kv``.
    """
    prompts = [list(one) for one in prompt] if is_list_of_lists(prompt) else [list(prompt)]
    if not isinstance(model, QuantisedModel):
        if rule not in RULES:
            raise UserError(f"the scale rule must be {' or '.join(RULES)}, not {rule!r}")
        # Before the weights are rounded, which takes time, and tables are made for its positions.
        check_formats(config, model.formats(format), activation, kv)
        check_head(model.name, model.head, config)
        if calibrate is not None:
            model = calibrate(model)
        model = quantise_model(model, format, config.slices, activation=activation, rule=rule,
                               kv=kv)
    formats = dict.fromkeys(matrix.format for matrix in model.matrices)
    check_formats(config, formats, model.activation, model.kv)
    for matrix in model.matrices:
        if len(matrix.weights) % row_unit(config.slices, matrix.format):
            raise ValueError(f"a matrix of {len(matrix.weights)} rows of {matrix.format} is not "
                             f"padded for the {config.slices} slices of {config}")
    for one in prompts:
        check_task(model, one, tokens)
    if chunk is not None and chunk < 1:
        raise UserError(f"a chunk must have at least 1 token, not {chunk}")
    sequences = cut_sequences(prompts, tokens, share)
    task = Task(prompt=sum(map(len, prompts)), positions=max(s.positions for s in sequences),
                sampling=sampling or Sampling(), check=check, pin=tuple(pin))
    check_pages(model, config, task.positions, len(prompts))
    plan = make_plan(model, config)
    if find_sparse(model) is not None:
        model = replace(model, together=plan.columns * plan.groups)
    tapes = pack_matrices(model, config, plan)
    longest = max(len(s.prompt) - s.start for s in sequences)
    too_long = set()
    for chunks in (*chunk_plans(model, config, plan, longest, chunk), None):
        if chunks is not None and chunks.main in too_long:
            continue
        found = write_task(model, config, plan, chunks, sequences, task, tapes)
        if len(found.words) <= config.program:
            return found
        if chunks is not None and chunks.rest is None:
            too_long.add(chunks.main)
    raise UserError(f"{model.name} needs a program of {len(found.words)} instructions, program "
                    f"memory of configuration {config} holds {config.program}; a larger "
                    "workspace or program memory helps")


def is_list_of_lists(prompt):
    return len(prompt) > 0 and all(isinstance(one, (list, tuple)) for one in prompt)


def write_task(model, config, plan, chunks, sequences, task, tapes):
    """The :class:`Compiled` of a task with chunks of one size, or without them."""
    if chunks is not None:
        sequences, number = pass_in_chunks(sequences, chunks, model.context)
        task = replace(task, chunks=number, filled=max(s.filled for s in sequences),
                       whole=max(s.whole for s in sequences),
                       covered=chunks.covers and any(s.filled > s.passed for s in sequences),
                       passed=sum(s.passed - s.start for s in sequences))
    blocks = None
    if len(sequences) > 1:
        pool = make_pool(sequences, config.kv_lines(model.head_blocks, KV[model.kv].packed))
        task, blocks = replace(task, sequences=sequences, pool=pool), pool.blocks
    layers = kv_layers(model, config, task.written, 1 if chunks is None else chunks.most, blocks)
    memory = lay_out(model, config, plan, chunks, layers, sequences, task, tapes)
    limit = min(1 << config.address_bits, config.line_bytes << 32)
    if memory.bytes > limit:
        raise UserError(f"{model.name} needs {memory.bytes} bytes of memory, configuration "
                        f"{config} addresses {limit}; use more address_bits")
    assembler = write_program(model, config, plan, chunks, memory, layers, task)
    return Compiled(model=model, config=config, task=task, plan=plan, chunks=chunks, memory=memory,
                    kv=layers, prompt=list(sequences[0].prompt), words=assembler.words(),
                    assembler=assembler)


def pack_matrices(model, config, plan):
    """Tapes of all layers, and of the output matrix, by their regions' names."""
    return {name: b"".join(pack(m.weights, m.scales, m.format, config.slices, m.factor)
                           for m in matrices)
            for name, matrices in (
                ("layers", matrices_of(model.layers)),
                ("classifier", chunk_matrices(model, plan)))}


def lay_out(model, config, plan, chunks, layers, sequences, task, tapes):
    """The :class:`sw.compile.memory.MemoryMap` of a model and a task."""
    memory = MemoryMap(config)
    logits_lines = sum(memory.row_lines(chunk.blocks) for chunk in plan.chunks)
    if task.sequences:
        place_sequences(memory, task, logits_lines, memory.row_lines(model.dim_blocks))
    else:
        memory.place_data("prompt", np.asarray(sequences[0].prompt, "<u4").tobytes())
    memory.place_rows("final_gain", model.gain[None])
    # The gains of layer 0 follow those of the last layer, for the next token.
    gains = [gain for layer in (*model.layers, model.layers[0])
             for gain in (layer.attention_gain, layer.ffn_gain)]
    memory.place_rows("gains", np.stack(gains))
    memory.place_rows("rope_k", model.rope_k[:task.written])
    memory.place_rows("rope_q", model.rope_q[:task.written])
    memory.place_rows("embedding", model.embedding)
    if task.chunks:
        place_rows_of_prompts(memory, model.embedding, sequences)
    for name, tape in tapes.items():
        memory.place_data(name, tape)
    for number, blocks in enumerate(lists_of_blocks(layers)):
        memory.place_data(f"blocks_{number}", np.asarray(blocks, "<u4").tobytes())
    memory.begin_writable()
    memory.place("kv", sum(layer.lines for layer in layers) * config.line_bytes)
    if chunks is not None and chunks.covers:
        memory.place("residual", chunks.most * memory.row_lines(model.dim_blocks)
                     * config.line_bytes)
    if task.check:
        positions = sum(s.positions - s.passed for s in sequences)
        memory.place("logits", positions * logits_lines * config.line_bytes)
    return memory
