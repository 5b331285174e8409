"""Verilog emission in which each distinct block is emitted once, and instantiated.

Amaranth emits a module for every *instance* of a component. :func:`shared` marks a component as a
leaf: :func:`convert` emits its definition once for each distinct set of parameters, and places
instances everywhere else, so that the size of the output follows the number of distinct blocks.
"""

import re

from amaranth.back import rtlil, verilog
from amaranth.hdl import ClockSignal, Instance, ResetSignal
from amaranth.lib import wiring

from .ecp5 import multiplier_model
from .ram import ram_instance, ram_key, ram_module


__all__ = ["shared", "convert"]


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Emitter:
    """Collects the distinct shared components of a design; passed to them as ``platform``."""

    def __init__(self, top):
        self.names = {}
        self.texts = {}
        self.memories = []
        self.taken = {top}

    def define(self, component):
        """Module name of a component; the first of its kind is emitted."""
        key = (type(component), component.parameters)
        if key not in self.names:
            name = self._name(snake(type(component).__name__))
            self.names[key] = name
            self.texts[name] = rtlil.convert(component, name=name, platform=self, emit_src=False)
        return self.names[key]

    def clocked(self, name):
        """Whether a shared module has a clock; one that is combinational has none."""
        return re.search(r"\binput \d+ +\\clk$", self.texts[name], re.MULTILINE) is not None

    def get_memory(self, memory):
        """Amaranth's hook for memories: an instance of a module that is written once."""
        key = ram_key(memory)
        if key not in self.names:
            self.names[key] = name = self._name(f"ram_{key[0]}x{key[1]}")
            self.memories.append(ram_module(name, key))
        return ram_instance(memory, self.names[key])

    def _name(self, base):
        name, number = base, 1
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name


class Shared(wiring.Component):
    """Stands for a component, with the same members; see :func:`shared`."""

    def __init__(self, component, reset):
        if not isinstance(getattr(component, "parameters", None), tuple):
            raise TypeError(f"a shared component needs the tuple attribute 'parameters', "
                            f"which {type(component).__name__} lacks")
        super().__init__(component.signature)
        component._MustUse__used = True
        self.component = component
        self.reset = reset
        # The stand-in has signals of its own: the prototype's belong to its definition. They are
        # not named like the members, as Yosys 0.70 fails to reintegrate (abc9) a design with wires
        # i, o and code of several instances.
        self.__dict__.update(component.signature.members.create())

    def __getattr__(self, name):
        # Constants such as ``latency`` are the component's.
        if name.startswith("_") or name == "component":
            raise AttributeError(name)
        return getattr(self.component, name)

    def elaborate(self, platform):
        if not isinstance(platform, Emitter):
            raise TypeError("shared components are emitted with hw.verilog.convert")
        name = platform.define(self.component)
        ports = {}
        if platform.clocked(name):
            ports = {"i_clk": ClockSignal(),
                     "i_rst": ResetSignal() if self.reset is None else self.reset}
        for path, member, value in self.signature.flatten(self):
            prefix = "o" if member.flow.name == "Out" else "i"
            ports[f"{prefix}_{'__'.join(map(str, path))}"] = value
        return Instance(name, **ports)


def shared(component, *, reset=None):
    """A component whose definition is emitted once for all instances with equal parameters.

    Use the result exactly as the component: as a submodule and through its members. The component
    must have an attribute ``parameters``, a hashable tuple of all that its definition depends on.
    ``reset`` replaces the reset of the surrounding clock domain.
    """
    return Shared(component, reset)


def name_elements(text):
    """RTLIL in which element ``n`` of an array is a wire ``array.n``, and not ``array[n]``.

    That is the name that abc9 of Yosys 0.70 gives to bit ``n`` of the array: it fails, or may join
    two nets that have nothing to do with each other.
    """
    return re.sub(r"(?<!\S)\\\S+\[\d+\]\S*",
                  lambda found: re.sub(r"\[(\d+)\]", r".\1", found[0]), text)


def emit(component, name):
    """RTLIL of a component and all shared components below it, and Verilog of its memories."""
    emitter = Emitter(name)
    top = rtlil.convert(component, name=name, platform=emitter, emit_src=False)
    # Only the outermost module is the top.
    leaves = [re.sub(r"attribute \\top 1\n", "", text) for text in emitter.texts.values()]
    return name_elements("\n".join(leaves + [top])), emitter.memories


def convert(component, name="top"):
    """Verilog of a component and of all shared components below it, as one string."""
    rtlil_text, modules = emit(component, name)
    text = verilog._convert_rtlil_text(rtlil_text, strip_internal_attrs=True)
    if "MULT18X18D" in text:
        modules.append(multiplier_model())
    return "\n".join([*modules, text])
