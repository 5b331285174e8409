"""Compiles a model for a machine: quantise, plan, lay out, write the program."""

from dataclasses import dataclass, replace

import numpy as np

from hw.formats import FORMATS, named, supported
from hw.isa import RULES
from sw.errors import UserError
from verif.reference.tape import pack

from .assembler import Assembler, listing
from .chunks import ChunkPlan, chunk_plans
from .kv import kv_layers, lists_of_blocks
from .layers import QuantisedModel, quantise_model, row_unit
from .memory import MemoryMap
from .plan import Plan, chunk_matrices, make_plan
from .program import Sampling, Task, write_program
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
    chunk : :class:`sw.compile.chunks.ChunkPlan` or None
        None if all tokens pass one by one.
    memory : :class:`sw.compile.memory.MemoryMap`
    kv : tuple of :class:`sw.compile.kv.KvLayer`
        Where keys and values lie, from region ``kv`` on.
    prompt : list of int
    words : list of int
        The program.
    assembler : :class:`sw.compile.assembler.Assembler`
    """

    model: QuantisedModel
    config: object
    task: Task
    plan: Plan
    chunk: ChunkPlan | None
    memory: MemoryMap
    kv: tuple
    prompt: list
    words: list
    assembler: Assembler

    def listing(self):
        """The program as text."""
        return listing(self.words, labels=self.assembler.labels,
                       comments=self.assembler.comments(), counters=COUNTERS, registers=REGISTERS,
                       symbols=self.memory.symbols())

    def layout(self):
        """The memory map as text."""
        line = self.config.line_bytes
        rows = [f"{'region':12s} {'line':>10s} {'address':>14s} {'bytes':>14s}"]
        rows += [f"{r.name:12s} {r.line:10d} {r.line * line:#14x} {r.size:14d}"
                 for r in self.memory.regions.values()]
        return "\n".join(rows) + "\n"

    def logits_address(self, position):
        """``(byte address, elements)`` of each chunk of the logits of a position (check mode), from
        ``task.passed`` on.
        """
        parts, line = [], self.memory.regions["logits"].line
        chunk_lines = [self.memory.row_lines(chunk.blocks) for chunk in self.plan.chunks]
        line += (position - self.task.passed) * sum(chunk_lines)
        for chunk, lines in zip(self.plan.chunks, chunk_lines):
            parts.append((line * self.config.line_bytes, 32 * chunk.blocks))
            line += lines
        return parts


def compile_model(model, config, prompt, tokens, *, format=None, activation="int8",
                  rule="floor", kv="int8", sampling=None, check=False, calibrate=None,
                  chunk=None):
    """Compile a model for a machine and a task.

    Parameters
    ----------
    model : :class:`sw.models.Model` or :class:`sw.compile.layers.QuantisedModel`
        The latter must have been quantised for ``config.slices``.
    config : :class:`hw.config.Config`
    prompt : list of int
        Tokens to begin with, at least one.
    tokens : int
        Tokens to generate, at least one.
    format, activation, rule, kv : str
        For a model that is not quantised; see :class:`sw.compile.layers.QuantisedModel`.
    sampling : :class:`sw.compile.program.Sampling`
        By default the likeliest token is taken.
    check : bool
        Write logits to memory, of every position that does not pass in a chunk.
    calibrate : function, optional
        Gives the model with some of its weights rounded already, as :func:`sw.calibrate.choose`
        does; for a model that is not quantised.
    chunk : int, optional
        Tokens of the prompt that pass through the model together, at most; by default as many as
        fit. 1: one by one.
    """
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
    check_task(model, config, prompt, tokens)
    if chunk is not None and chunk < 1:
        raise UserError(f"a chunk must have at least 1 token, not {chunk}")
    plan = make_plan(model, config)
    task = Task(prompt=len(prompt), positions=len(prompt) + tokens - 1,
                sampling=sampling or Sampling(), check=check)
    tapes = pack_matrices(model, config, plan)
    for chunks in (*chunk_plans(model, config, plan, len(prompt), chunk), None):
        found = write_task(model, config, plan, chunks, prompt, task, tapes)
        if len(found.words) <= config.program:
            return found
    raise UserError(f"{model.name} needs a program of {len(found.words)} instructions, program "
                    f"memory of configuration {config} holds {config.program}; a larger "
                    "workspace or program memory helps")


def write_task(model, config, plan, chunks, prompt, task, tapes):
    """The :class:`Compiled` of a task with chunks of one size, or without them."""
    if chunks is not None:
        number = chunks.chunks(len(prompt), model.context)
        filled = number * chunks.chunk
        task = replace(task, chunks=number, filled=filled, passed=min(filled, len(prompt) - 1))
    layers = kv_layers(model, config, task.written, 1 if chunks is None else chunks.chunk)
    memory = lay_out(model, config, plan, layers, prompt, task, tapes)
    limit = min(1 << config.address_bits, config.line_bytes << 32)
    if memory.bytes > limit:
        raise UserError(f"{model.name} needs {memory.bytes} bytes of memory, configuration "
                        f"{config} addresses {limit}; use more address_bits")
    assembler = write_program(model, config, plan, chunks, memory, layers, task)
    return Compiled(model=model, config=config, task=task, plan=plan, chunk=chunks, memory=memory,
                    kv=layers, prompt=list(prompt), words=assembler.words(), assembler=assembler)


def check_head(name, size, config):
    """Raise :class:`UserError` if heads of ``size`` elements are too large for a machine."""
    padded = -(-size // 32) * 32
    if padded > config.max_head:
        raise UserError(f"{name} does not fit configuration {config}: its heads of {padded} "
                        f"elements (padded) exceed max_head = {config.max_head}")


def check_task(model, config, prompt, tokens):
    """Raise :class:`UserError` unless the model can do what is asked."""
    if not prompt:
        raise UserError("the prompt has no tokens; even an empty text begins with one")
    for token in prompt:
        if not 0 <= token < model.vocabulary:
            raise UserError(f"the prompt has token {token}, but {model.name} knows tokens 0 to "
                            f"{model.vocabulary - 1}")
    if len(prompt) > model.context:
        raise UserError(f"the prompt has {len(prompt)} tokens, but {model.name} sees at most "
                        f"{model.context} at once")
    if tokens < 1:
        raise UserError(f"the number of tokens to generate must be positive, not {tokens}")
    if len(prompt) + tokens - 1 > model.context:
        raise UserError(f"a prompt of {len(prompt)} tokens leaves room for "
                        f"{model.context - len(prompt) + 1} more in the context of {model.name} "
                        f"({model.context}), not {tokens}")
    for sees in dict.fromkeys(model.sees):
        sees.check_range(model.name, model.context)


def check_formats(config, formats, activation, kv):
    """Raise :class:`UserError` unless a machine has these formats of weights and elements."""
    for wanted, having, what in ((formats, config.formats, "weight format"),
                                 ([activation], config.activations, "activations of type"),
                                 ([kv], config.kv, "keys and values of type")):
        for name in wanted:
            if name not in having:
                raise UserError(f"configuration {config} has no {what} {name}; it has "
                                f"{', '.join(having)}, and preset formats has all")
    for name in formats:
        if not supported(named(name), activation):
            able = [other.name for other in FORMATS.values()
                    if supported(other, activation)]
            raise UserError(f"weights of {name} cannot be multiplied by activations of "
                            f"{activation}; {', '.join(able)} can")


def pack_matrices(model, config, plan):
    """Tapes of all layers, and of the output matrix, by their regions' names."""
    return {name: b"".join(pack(m.weights, m.scales, m.format, config.slices, m.factor)
                           for m in matrices)
            for name, matrices in (
                ("layers", [matrix for layer in model.layers for matrix in layer.matrices]),
                ("classifier", chunk_matrices(model, plan)))}


def lay_out(model, config, plan, layers, prompt, task, tapes):
    """The :class:`sw.compile.memory.MemoryMap` of a model and a task."""
    memory = MemoryMap(config)
    memory.place_data("prompt", np.asarray(prompt, "<u4").tobytes())
    memory.place_rows("final_gain", model.gain[None])
    # The gains of layer 0 follow those of the last layer, for the next token.
    gains = [gain for layer in (*model.layers, model.layers[0])
             for gain in (layer.attention_gain, layer.ffn_gain)]
    memory.place_rows("gains", np.stack(gains))
    memory.place_rows("rope_k", model.rope_k[:task.written])
    memory.place_rows("rope_q", model.rope_q[:task.written])
    memory.place_rows("embedding", model.embedding)
    if task.chunks:
        # In the order in which they are needed: a chunk's rows are read at once.
        rows = np.zeros(task.filled, int)
        rows[:task.passed] = prompt[:task.passed]
        memory.place_rows("prompt_rows", model.embedding[rows])
    for name, tape in tapes.items():
        memory.place_data(name, tape)
    for number, blocks in enumerate(lists_of_blocks(layers)):
        memory.place_data(f"blocks_{number}", np.asarray(blocks, "<u4").tobytes())
    memory.begin_writable()
    memory.place("kv", sum(layer.lines for layer in layers) * config.line_bytes)
    if task.check:
        lines = sum(memory.row_lines(chunk.blocks) for chunk in plan.chunks)
        memory.place("logits", (task.positions - task.passed) * lines * config.line_bytes)
    return memory
