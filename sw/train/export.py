"""Write a training checkpoint as the model file that is bundled.

    python -m sw.train.export --checkpoint model.pt --out stories1m.bin
"""

import argparse

import torch

from sw.train.stored import ModelConfig, StoredModel


__all__ = ["stored_model"]


def stored_model(checkpoint):
    """Return the :class:`~sw.train.stored.StoredModel` of a checkpoint of ``sw.train.train``."""
    config, state = ModelConfig(**checkpoint["config"]), checkpoint["model"]
    tensors = {"norm": state["norm.weight"], "embedding": state["embedding.weight"][None]}
    for name in (config.norms | config.matrices).keys() - tensors.keys():
        layers = [state[f"blocks.{i}.{name}.weight"] for i in range(config.n_layers)]
        tensors[name] = torch.stack(layers)
    return StoredModel(config, {name: tensor.numpy() for name, tensor in tensors.items()})


def main():
    """Read the checkpoint and write the model file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    checkpoint = torch.load(args.checkpoint, weights_only=True)
    stored_model(checkpoint).save(args.out)
    print(f"{args.out}: step {checkpoint['step']}")


if __name__ == "__main__":
    main()
