"""Proofs: specifications around small blocks, and the flow that proves them."""
