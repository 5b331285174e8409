"""Tables of a netlist of ECP5 cells, for ``sim/cells/netlist.h``, which runs them.

Values of nets have numbers: 0 and 1, the inputs, what registers hold, and what cells without a
clock give, in the order in which these settle. Tables are 32-bit words, each with its length before
it.
"""

from collections import defaultdict

import numpy as np

from sw.errors import UserError


__all__ = ["tables"]


#: Kinds of cells without a clock, as in ``netlist.h``.
LUT, CARRY, LOOKUP, PRODUCT = range(4)
MODES = {"NORMAL": 0, "WRITETHROUGH": 1, "READBEFOREWRITE": 2}

#: Multiplexers as tables of inputs in this order.
MULTIPLEXERS = {"PFUMX": ("ALUT", "BLUT", "C0"), "L6MUX21": ("D1", "D0", "SD")}
CHOICE = 0b1010_1100    # the second input, or if the third is high the first: of 8 combinations

#: What a parameter may be: anything else would be run wrongly.
KNOWN = {
    "TRELLIS_FF": {"CLKMUX": ("CLK",), "SRMODE": ("LSR_OVER_CE",), "LSRMODE": ("LSR",),
                   "CEMUX": ("CE", "INV", "1"), "LSRMUX": ("LSR", "INV")},
    "TRELLIS_DPR16X4": {"WCKMUX": ("WCK",), "WREMUX": ("WRE",)},
    "DP16KD": {"CLKAMUX": ("CLKA",), "CLKBMUX": ("CLKB",), "RESETMODE": ("SYNC", "ASYNC")},
    "MULT18X18D": {"REG_PIPELINE_CLK": ("NONE",)},
}


def bits_of(text, count):
    """Bits of a parameter; those that may be anything are 0."""
    return int(text.replace("x", "0").replace("z", "0"), 2) & (1 << count) - 1


def words(value, count):
    return [value >> 32 * n & 0xFFFFFFFF for n in range(count)]


class Cell:
    """A cell of the netlist: pins by name, parameters by name."""

    def __init__(self, name, data):
        self.name, self.kind = name, data["type"]
        self.pins = data["connections"]
        # Texts that could be numbers have a space at their end.
        self.parameters = {key: text.strip() for key, text in data["parameters"].items()}
        for key, legal in KNOWN.get(self.kind, {}).items():
            if key in self.parameters and self.parameters[key] not in legal:
                raise UserError(f"cell {name} ({self.kind}) has {key} {self.parameters[key]!r}, "
                                f"of which the simulator of netlists knows only "
                                f"{', '.join(legal)}")

    def pin(self, name, missing="0"):
        """The net of a pin."""
        return (self.pins.get(name) or [missing])[0]

    def bus(self, name, count, missing="0"):
        """Nets of pins with numbers."""
        return [self.pin(f"{name}{n}", missing) for n in range(count)]

    def get(self, name, missing):
        return self.parameters.get(name, missing)


class Tables:
    """Collects cells, and gives numbers to nets."""

    def __init__(self, module):
        self.numbers = {"0": 0, "1": 1, "x": 0, "z": 0}
        # What nothing takes goes to number 2.
        self.count = 3
        self.ports = module["ports"]
        if "clk" not in self.ports:
            raise UserError("the netlist has no port clk")
        self.clock = self.ports["clk"]["bits"][0]
        for port in self.ports.values():
            if port["direction"] == "input":
                self.number(port["bits"])
        #: (kind, record: nets or numbers of the cell, nets that it gives), without a clock
        self.settling = []
        self.flip_flops, self.smalls = defaultdict(list), []
        self.multipliers, self.rams = [], []
        for name, data in module["cells"].items():
            if data["type"] != "$scopeinfo":
                self.add(Cell(name, data))

    def number(self, nets):
        """Give numbers that follow each other to nets; the first."""
        first = self.count
        for n, net in enumerate(nets):
            if net is not None:
                self.numbers[net] = first + n
        self.count += len(nets)
        return first

    def add(self, cell):
        """Sort a cell in by its kind."""
        kind = cell.kind
        if kind == "LUT4":
            self.lut([cell.pin(name) for name in "ABCD"], cell.pin("Z"),
                     bits_of(cell.get("INIT", "0"), 16))
        elif kind in MULTIPLEXERS:
            self.lut([*(cell.pin(name) for name in MULTIPLEXERS[kind]), "0"], cell.pin("Z"), CHOICE)
        elif kind == "CCU2C":
            given = [cell.pin(name, None) for name in ("S0", "S1", "COUT")]
            table = [bits_of(cell.get(f"INIT{n}", "0"), 16) for n in "01"]
            inject = [cell.get(f"INJECT1_{n}", "YES") == "YES" for n in "01"]
            self.settling.append((CARRY, [cell.pin("CIN"), *(cell.pin(f"{name}{n}") for n in "01"
                                                             for name in "ABCD")],
                                  given, [*table, *inject]))
        elif kind == "TRELLIS_FF":
            self.clocked(cell, "CLK")
            enable, reset = cell.get("CEMUX", "1"), cell.get("LSRMUX", "LSR")
            control = ("1" if enable == "1" else cell.pin("CE"), enable == "INV",
                       cell.pin("LSR"), reset == "INV", cell.get("REGSET", "RESET") == "SET")
            self.flip_flops[control].append((cell.pin("DI"), cell.pin("Q")))
        elif kind == "TRELLIS_DPR16X4":
            self.clocked(cell, "WCK")
            self.settling.append((LOOKUP, cell.pins["RAD"], cell.pins["DO"], [len(self.smalls)]))
            self.smalls.append(([cell.pin("WRE"), *cell.pins["WAD"], *cell.pins["DI"]],
                                words(bits_of(cell.get("INITVAL", "0"), 64), 2)))
        elif kind == "MULT18X18D":
            self.multiplier(cell)
        elif kind == "DP16KD":
            self.ram(cell)
        else:
            raise UserError(f"the simulator of netlists has no cell {kind}, as is {cell.name}")

    def lut(self, given, z, init):
        self.settling.append((LUT, given, [z], [init]))

    def clocked(self, cell, pin):
        if cell.pin(pin) != self.clock:
            raise UserError(f"pin {pin} of {cell.name} ({cell.kind}) has another clock than clk")

    def multiplier(self, cell):
        factors = [*cell.bus("A", 18), *cell.bus("B", 18), cell.pin("SIGNEDA"), cell.pin("SIGNEDB")]
        result = cell.bus("P", 36, None)
        registers = {cell.get(f"REG_{name}_CLK", "NONE") for name in ("INPUTA", "INPUTB", "OUTPUT")}
        if registers == {"NONE"}:
            self.settling.append((PRODUCT, factors, result, []))
        elif registers == {"CLK0"}:
            self.clocked(cell, "CLK0")
            self.multipliers.append(([*factors, cell.pin("CE0", "1"), cell.pin("RST0")], result))
        else:
            raise UserError(f"multiplier {cell.name} has some registers, and not others")

    def ram(self, cell):
        """A block RAM; what is not used of it needs no clock."""
        sides, results, lacks_reset = [], [], cell.get("RESETMODE", "SYNC") == "ASYNC"
        for side in "AB":
            width = bits_of(cell.get(f"DATA_WIDTH_{side}", "10010"), 32)
            write, enable, reset = (cell.pin(f"{name}{side}") for name in ("WE", "CE", "RST"))
            if enable != "0" and cell.pin(f"CLK{side}") != "0":
                self.clocked(cell, f"CLK{side}")
            elif enable != "0" and write != "0":
                raise UserError(f"block RAM {cell.name} is written without a clock")
            if width == 36 and (side == "B") == (write != "0"):
                raise UserError(f"block RAM {cell.name}: port A writes 36 bits, port B reads them")
            if lacks_reset and reset != "0":
                raise UserError(f"block RAM {cell.name} has a reset without a clock")
            late = cell.get(f"REGMODE_{side}", "NOREG") == "OUTREG"
            select = int(cell.get(f"CSDECODE_{side}", "0b000"), 2)
            mode = MODES[cell.get(f"WRITEMODE_{side}", "NORMAL")]
            nets = [enable, cell.pin(f"OCE{side}"), write, reset, *cell.bus(f"CS{side}", 3),
                    *cell.bus(f"AD{side}", 14), *cell.bus(f"DI{side}", 18)]
            sides.append(([width, mode, late, select], nets))
            results.append(cell.bus(f"DO{side}", 18, None))
        content = []
        for n in range(64):
            value = bits_of(cell.get(f"INITVAL_{n:02X}", "0"), 320)
            content += [value >> 20 * k & 0x3FFFF for k in range(16)]
        self.rams.append((sides, results, content))

    def order(self):
        """Cells without a clock, so that each stands behind those that it depends on."""
        giver = {net: place for place, cell in enumerate(self.settling) for net in cell[2]
                 if net is not None}
        waits = [{giver[net] for net in cell[1] if net in giver} for cell in self.settling]
        takers = defaultdict(list)
        for place, givers in enumerate(waits):
            for one in givers:
                takers[one].append(place)
        left = [len(givers) for givers in waits]
        level = [place for place, count in enumerate(left) if count == 0]
        found = []
        while level:
            # Cells of a kind together.
            found += sorted(level, key=lambda place: self.settling[place][0])
            following = []
            for one in level:
                for place in takers[one]:
                    left[place] -= 1
                    if left[place] == 0:
                        following.append(place)
            level = following
        if len(found) < len(self.settling):
            raise UserError(f"the netlist has a loop of {len(self.settling) - len(found)} cells "
                            "without a register")
        return found, waits

    def place(self, net):
        """Number of a net that a cell takes; nothing gives a value to others than these."""
        return self.numbers.get(net, 0)

    def places(self, nets):
        return [self.place(net) for net in nets]

    def program(self, order):
        """Tables of cells without a clock: how many of which kind follow each other, and each
        kind's cells."""
        runs, cells = [], [[], [], [], []]
        for kind, given, results, more in (self.settling[place] for place in order):
            out = [2 if net is None else self.numbers[net] for net in results]
            head, tail = ([], more) if kind in (LUT, CARRY) else (more, [])
            cells[kind].append([*head, *self.places(given), *out, *tail])
            if runs and runs[-1][0] == kind:
                runs[-1][1] += 1
            else:
                runs.append([kind, 1])
        return [table(runs), *map(table, cells)]

    def emit(self):
        """All tables, in the order in which ``netlist.h`` takes them."""
        flip_flops = []
        for control, cells in self.flip_flops.items():
            flip_flops.append((control, [d for d, _ in cells],
                               self.number([q for _, q in cells]), len(cells)))
        multipliers = [(nets, self.number(results)) for nets, results in self.multipliers]
        rams = [(sides, [self.number(nets) for nets in results], content)
                for sides, results, content in self.rams]
        order, waits = self.order()
        for place in order:
            self.number(self.settling[place][2])

        ports = []
        for name, port in self.ports.items():
            ports += [table([ord(letter) for letter in name]), [port["direction"] == "output"],
                      table(self.places(port["bits"]))]
        return [
            [self.count], [len(self.ports)], *ports,
            *self.program(order), *self.program(self.visible(order, waits)),
            table([[self.place(enable), e_inverted, self.place(reset), r_inverted, is_set, first,
                    count] for (enable, e_inverted, reset, r_inverted, is_set), _, first, count
                   in flip_flops]),
            table([place for _, inputs, _, _ in flip_flops for place in self.places(inputs)]),
            table([[*self.places(nets), *init] for nets, init in self.smalls]),
            table([[*self.places(nets), first] for nets, first in multipliers]),
            table([[word for (numbers, nets), first in zip(sides, firsts)
                    for word in (*numbers, *self.places(nets), first)] + content
                   for sides, firsts, content in rams]),
        ]

    def visible(self, order, waits):
        """Those cells that outputs depend on, without a register between."""
        outputs = {net for port in self.ports.values() if port["direction"] == "output"
                   for net in port["bits"]}
        needed = {place for place in order if outputs & set(self.settling[place][2])}
        for place in reversed(order):
            if place in needed:
                needed |= waits[place]
        return [place for place in order if place in needed]


def table(rows):
    """A table as words: how many rows, and their numbers."""
    return np.concatenate([[len(rows)], np.asarray(rows, np.int64).ravel()])


def tables(module):
    """Bytes of the tables of a module of Yosys's JSON netlist.

    Raises :class:`UserError` if it has a cell, or a use of one, that ``netlist.h`` does not know.
    """
    parts = Tables(module).emit()
    return np.concatenate([np.asarray(part, np.int64) for part in parts]).astype("<u4").tobytes()
