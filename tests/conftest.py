"""Prepares the environment of the tools that tests start."""

from sw.toolenv import activate


activate()
