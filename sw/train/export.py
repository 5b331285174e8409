"""Write a training checkpoint as the model file that is bundled.

    python -m sw.train.export --checkpoint model.pt --out stories1m.bin
"""

import argparse

import torch

from sw.train.stored import ModelConfig, write_model


__all__ = ["tensors_of"]


def tensors_of(config, state):
    """Return the arrays of a training state under the names of the file's tensors."""
    tensors = {"norm": state["norm.weight"], "embedding": state["embedding.weight"][None]}
    for name in (config.norms | config.matrices).keys() - tensors.keys():
        layers = [state[f"blocks.{i}.{name}.weight"] for i in range(config.n_layers)]
        tensors[name] = torch.stack(layers)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def main():
    """Read the checkpoint and write the model file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    checkpoint = torch.load(args.checkpoint, weights_only=True)
    config = ModelConfig(**checkpoint["config"])
    write_model(args.out, config, tensors_of(config, checkpoint["model"]))
    print(f"{args.out}: step {checkpoint['step']}")


if __name__ == "__main__":
    main()
