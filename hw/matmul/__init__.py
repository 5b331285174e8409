"""The matrix engine: activations stay in columns, weights stream past them."""
