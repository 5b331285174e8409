"""Train the bundled model on one CPU core, with INT4 weights in the forward pass at the end.

    python -m sw.train.train --data DIR --tokenizer tokenizer.bin --out model.pt --minutes 55

The first part of the run is in float32; from ``--int4-from`` on, every matrix product uses weights
rounded to INT4 and the gradient passes through the rounding. Sequences grow from 128 over 256 to
512 tokens, since attention over short ones is cheaper. A run that was stopped goes on from its
checkpoint with the same command.
"""

import argparse
import math
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from sw.tokenizer import Tokenizer
from sw.train.corpus import held_out, training_stories
from sw.train.model import LanguageModel
from sw.train.muon import Muon
from sw.train.own_stories import own_stories
from sw.train.stored import ModelConfig
from sw.train.tokenizer import encode_texts


__all__ = ["Batches", "held_out_loss", "save"]


class Batches:
    """An endless stream of stories in random order, cut into rows.

    Parameters
    ----------
    stories : callable
        epoch number to a list of int arrays, each one story that starts with the start token
    seed : int
        seed of the order
    """

    def __init__(self, stories, seed):
        self.stories = stories
        self.random = np.random.default_rng(seed)
        self.rest = np.zeros(0, np.int64)
        self.epoch = 0

    def take(self, rows, length):
        """Return ``rows`` rows of ``length + 1`` ids; neighbouring rows share one id."""
        need = rows * length + 1
        while len(self.rest) < need:
            found = self.stories(self.epoch)
            order = self.random.permutation(len(found))
            self.rest = np.concatenate([self.rest, *(found[i] for i in order)])
            self.epoch += 1
        flat, self.rest = self.rest[:need], self.rest[need - 1:]
        rows_of = np.lib.stride_tricks.sliding_window_view(flat, length + 1)[::length]
        return torch.from_numpy(rows_of.copy())


@torch.no_grad()
def held_out_loss(model, ids, int4, length=512):
    """Return the mean loss in nats per token over windows of ``length`` held-out tokens."""
    training = model.training
    model.eval()
    model.quantise(int4)
    windows = torch.tensor(ids[:len(ids) // length * length]).view(-1, length)
    total = 0.0
    for rows in windows.split(8):
        logits = model(rows[:, :-1])
        total += functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(),
                                          reduction="sum").item()
    model.train(training)
    return total / (len(windows) * (length - 1))


def save(path, state):
    """Write a checkpoint so that a stopped run never leaves half a file."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    torch.save(state, part)
    os.replace(part, path)


def sequence_length(progress):
    """Return the tokens of a training row at a progress from 0 to 1."""
    return 128 if progress < 0.5 else 256 if progress < 0.8 else 512


def rate(progress, step, warmup=60):
    """Return the share of the full step size: linear warm-up, then half a cosine to 2 %."""
    return min(1, (step + 1) / warmup) * (0.51 + 0.49 * math.cos(math.pi * min(1, progress)))


def make_optimisers(model, args):
    """Return Muon for the matrices of the layers and Adam for embedding and gains."""
    inner = [p for p in model.blocks.parameters() if p.dim() == 2]
    chosen = {id(p) for p in inner}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [Muon(inner, lr=args.lr), torch.optim.AdamW(others, lr=args.adam_lr,
                                                       betas=(0.9, 0.98), weight_decay=0.0)]


def read_stories(args, tokenizer):
    """Return the function that gives the encoded stories of an epoch."""
    fixed = [np.array(ids) for ids in encode_texts(tokenizer, training_stories(args.data))]
    print(f"{len(fixed)} stories of {sum(map(len, fixed))} tokens", flush=True)

    def stories(epoch):
        own = own_stories(args.own_stories, 1000 * args.seed + epoch)
        return fixed + [np.array(ids) for ids in encode_texts(tokenizer, own)]

    return stories


def parse():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with the training text")
    parser.add_argument("--tokenizer", required=True, help="tokenizer.bin")
    parser.add_argument("--out", required=True, help="checkpoint to write, and to go on from")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="length of the run in steps")
    length.add_argument("--minutes", type=float, help="length of the run in minutes")
    parser.add_argument("--own-stories", type=int, default=400,
                        help="composed stories added to each pass over the text")
    parser.add_argument("--tokens", type=int, default=2048, help="tokens of a step")
    parser.add_argument("--int4-from", type=float, default=0.6, help="progress where INT4 starts")
    parser.add_argument("--lr", type=float, default=0.02, help="step size of Muon")
    parser.add_argument("--adam-lr", type=float, default=0.004, help="step size of Adam")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-seconds", type=float, default=480)
    args = parser.parse_args()
    if args.tokens % 512:
        parser.error(f"--tokens must be a multiple of 512, not {args.tokens}")
    return args


def main():
    """Train, or go on training."""
    args = parse()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer.load(args.tokenizer)
    config = ModelConfig(vocab_size=len(tokenizer))
    model = LanguageModel(config, args.dropout)
    optimisers = make_optimisers(model, args)
    full = [group["lr"] for o in optimisers for group in o.param_groups]
    step, before = 0, 0.0
    if Path(args.out).is_file():
        state = torch.load(args.out, weights_only=True)
        model.load_state_dict(state["model"])
        for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        step, before = state["step"], state["seconds"]
        print(f"going on from step {step}", flush=True)
    batches = Batches(read_stories(args, tokenizer), args.seed + step)
    check = held_out(args.data, tokenizer)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    start = saved = reported = time.monotonic()
    losses = []
    while True:
        seconds = before + time.monotonic() - start
        progress = step / args.steps if args.steps else seconds / 60 / args.minutes
        finished = progress >= 1
        if finished or time.monotonic() - saved > args.save_seconds:
            float32, int4 = (held_out_loss(model, check, q) for q in (False, True))
            print(f"held out: float32 {float32:.4f}, INT4 {int4:.4f}", flush=True)
            save(args.out, {"model": model.state_dict(), "config": asdict(config), "step": step,
                            "optimisers": [o.state_dict() for o in optimisers],
                            "seconds": seconds})
            saved = time.monotonic()
        if finished:
            return
        model.quantise(progress >= args.int4_from)
        length = sequence_length(progress)
        rows = batches.take(args.tokens // length, length)
        loss = functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        groups = [group for o in optimisers for group in o.param_groups]
        for group, lr in zip(groups, full, strict=True):
            group["lr"] = lr * rate(progress, step)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        step += 1
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"the loss became {losses[-1]} at step {step}")
        if time.monotonic() - reported > 20:
            reported = time.monotonic()
            print(f"step {step}, {100 * progress:.1f} %, {seconds / 60:.1f} min, "
                  f"loss {np.mean(losses):.4f}, {len(losses) * args.tokens} tokens",
                  flush=True)
            losses = []


if __name__ == "__main__":
    main()
