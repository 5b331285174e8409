"""Measurements: each prints the figure beside its limit, and checks the result it measured."""
