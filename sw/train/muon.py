"""The Muon optimiser: momentum whose matrices are made orthogonal before each step."""

import torch


__all__ = ["Muon"]


def orthogonal(matrix, steps=5):
    """Return the matrix with its singular values brought near one, by Newton-Schulz steps.

    The quintic 3.4445 x - 4.7750 x^3 + 2.0315 x^5 (K. Jordan, Muon, 2024) rises fast from small
    values and stays between 0.7 and 1.2; float32, since bfloat16 is slow on a CPU.
    """
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x,
                        beta=3.4445)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for the matrices inside the network.

    Parameters
    ----------
    params : iterable of 2-D parameters
    lr : float
        step; the root mean square of a change is about ``lr / sqrt(columns)`` of a wide matrix
    momentum : float
        share of the running gradient kept at each step
    weight_decay : float
        share of ``lr`` by which weights shrink at each step
    """

    def __init__(self, params, lr=0.02, momentum=0.95, weight_decay=0.05):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        """Change every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                running = self.state[p].setdefault("running", torch.zeros_like(p))
                running.lerp_(p.grad, 1 - group["momentum"])
                change = orthogonal(p.grad.lerp(running, group["momentum"]))
                gain = max(1.0, p.shape[0] / p.shape[1]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(change, alpha=-group["lr"] * gain)
