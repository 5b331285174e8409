"""The bundled model's architecture in PyTorch, with weights quantised in the forward pass.

Layout and arithmetic are those of llama2.c: RMS norm, rotary positions on interleaved pairs,
grouped-query attention, SwiGLU and an output matrix shared with the embedding.
"""

import torch
from torch import nn
from torch.nn import functional

from sw.quantise import GROUP


__all__ = ["LanguageModel", "fake_int4"]


def fake_int4(weight):
    """Return weights rounded to INT4 groups; the gradient passes as if they were not.

    Reference: :func:`sw.quantise.quantise_weights`.
    """
    with torch.no_grad():
        groups = weight.reshape(-1, GROUP)
        largest = groups.gather(1, groups.abs().argmax(1, keepdim=True))
        scale = (largest / -8).half().float()
        safe = torch.where(scale == 0, torch.ones_like(scale), scale)
        rounded = torch.clamp(torch.round(groups / safe), -8, 7) * scale
        change = (rounded - groups).reshape(weight.shape)
    return weight + change


class RMSNorm(nn.Module):
    """Scale to unit root mean square, then by a gain."""

    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        """Return ``x`` normalised over its last axis."""
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.weight


class Linear(nn.Linear):
    """A matrix without bias whose weights can be rounded to INT4 in the forward pass."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, bias=False)
        self.quantised = False

    def forward(self, x):
        """Return ``x`` times the transposed weights."""
        weight = fake_int4(self.weight) if self.quantised else self.weight
        return functional.linear(x, weight)


class Block(nn.Module):
    """One transformer layer: attention, then a gated feed-forward network."""

    def __init__(self, config, dropout):
        super().__init__()
        self.config = config
        self.attention_norm = RMSNorm(config.dim)
        self.ffn_norm = RMSNorm(config.dim)
        self.wq = Linear(config.dim, config.dim)
        self.wk = Linear(config.dim, config.kv_dim)
        self.wv = Linear(config.dim, config.kv_dim)
        self.wo = Linear(config.dim, config.dim)
        self.w1 = Linear(config.dim, config.hidden_dim)
        self.w2 = Linear(config.hidden_dim, config.dim)
        self.w3 = Linear(config.dim, config.hidden_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, cos, sin):
        """Return the residual stream ``x[batch, time, dim]`` after this layer."""
        c = self.config
        batch, time, _ = x.shape
        y = self.attention_norm(x)
        q = self.wq(y).view(batch, time, c.n_heads, c.head_dim)
        k = self.wk(y).view(batch, time, c.n_kv_heads, c.head_dim)
        v = self.wv(y).view(batch, time, c.n_kv_heads, c.head_dim)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k = k.repeat_interleave(c.n_heads // c.n_kv_heads, dim=2)
        v = v.repeat_interleave(c.n_heads // c.n_kv_heads, dim=2)
        q, k, v = (t.transpose(1, 2) for t in (q, k.to(q.dtype), v.to(q.dtype)))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = y.transpose(1, 2).reshape(batch, time, c.dim)
        x = x + self.dropout(self.wo(y))
        y = self.ffn_norm(x)
        y = self.w2(functional.silu(self.w1(y)) * self.w3(y))
        return x + self.dropout(y)


def rotate(x, cos, sin):
    """Turn the pairs of neighbouring elements of each head by the angle of its position."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


class LanguageModel(nn.Module):
    """Token ids to the logits of the next token.

    Parameters
    ----------
    config : :class:`~sw.train.stored.ModelConfig`
    dropout : float
        share of the residual updates dropped in training
    """

    def __init__(self, config, dropout=0.0):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(Block(config, dropout) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.dim)
        self.output = Linear(config.dim, config.vocab_size)
        self.output.weight = self.embedding.weight
        self.dropout = nn.Dropout(dropout)
        pairs = torch.arange(0, config.head_dim, 2) / config.head_dim
        angles = torch.outer(torch.arange(config.max_seq_len), 10_000.0 ** -pairs)
        self.register_buffer("cos", angles.cos()[:, None], persistent=False)
        self.register_buffer("sin", angles.sin()[:, None], persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                last = name.endswith(("wo.weight", "w2.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * config.n_layers) ** 0.5 if last else 0.02)

    def quantise(self, on):
        """Round the weights of every matrix product to INT4 in the forward pass, or stop it."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.quantised = on

    def forward(self, ids):
        """Return logits ``[batch, time, vocabulary]`` of ``ids[batch, time]``."""
        time = ids.shape[1]
        x = self.dropout(self.embedding(ids))
        for block in self.blocks:
            x = block(x, self.cos[:time], self.sin[:time])
        return self.output(self.norm(x)).float()
