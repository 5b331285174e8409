"""From a model to a memory image and a program."""
