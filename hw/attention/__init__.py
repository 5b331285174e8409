"""Attention: its command front, softmax, and the way of keys and values into the array."""
