"""A board at a serial port as a device."""

import errno
import struct
from os import urandom

from fpga.link.protocol import CHECK_HASH, Kind, Status
from hw import register_map as rm
from sw.errors import UserError

from .host_link import HostLink, Request


__all__ = ["SerialDevice", "open_port"]

#: Rate that ports are opened with, unless another one is named.
BAUD = 1_000_000

#: Why a port cannot be opened, and what helps, where the system's own words do not say it.
REFUSALS = {
    errno.ENOENT: "it does not exist; is the cable plugged in?",
    errno.EACCES: "this user may not use it; join the group that owns it, often dialout, and log "
                  'in again, or let a udev rule with TAG+="uaccess" give it to who is logged in',
    errno.EAGAIN: "another program uses it",
}


def open_port(name):
    """The serial port ``PATH`` or ``PATH@BAUD``, and as much low latency as it offers."""
    try:
        import serial
    except ModuleNotFoundError:
        raise UserError("boards need the package pyserial: pip install -e '.[fpga]'") from None

    path, at, rate = name.rpartition("@")
    if not at:
        path, rate = name, str(BAUD)
    if not rate.isdecimal() or not int(rate):
        raise UserError(f"the rate of a serial port must be a positive number, not {rate!r}")
    try:
        port = serial.Serial(path, int(rate), timeout=0, write_timeout=None, exclusive=True)
    except (serial.SerialException, ValueError) as error:
        why = REFUSALS.get(getattr(error, "errno", None), error)
        raise UserError(f"the serial port {path} cannot be opened: {why}") from None
    try:
        # FTDI chips otherwise keep short replies for 16 ms.
        port.set_low_latency_mode(True)
    except (OSError, ValueError, AttributeError):
        pass
    return port


class SerialDevice:
    """The machine of a configuration on a board, behind its host link.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    port : object
        See :class:`.host_link.HostLink`; :func:`open_port` gives one.
    memory_bytes : int
        How much memory the board must have.
    """

    def __init__(self, config, port, *, memory_bytes=0):
        self.config, self.port = config, port
        self.link = HostLink(port, number=urandom(1)[0])
        identity = self.link.identity
        self.memory_bytes = identity.pages * rm.PAGE
        if identity.hash == CHECK_HASH:
            raise UserError("the board is loaded with the design of `tokamac bitstream --check`, "
                            "which has no machine")
        if identity.hash != config.hash:
            raise UserError(f"the board has another configuration than {config}: its hash is "
                            f"{identity.hash:#010x} instead of {config.hash:#010x}")
        if memory_bytes > self.memory_bytes:
            raise UserError(f"the model needs {memory_bytes} bytes of memory; the board has "
                            f"{self.memory_bytes}")
        # A run that another program left behind.
        if self.read_register("status") & rm.RUNNING:
            self.write_register("control", rm.ABORT)
            self.run(identity.clock_hz)
        for name, value in (("read_base", 0), ("read_limit", identity.pages),
                            ("write_base", 0), ("write_limit", identity.pages)):
            self.write_register(name, value)

    def close(self):
        """Give the port back."""
        self.port.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write(self, address, data):
        """Put bytes into memory."""
        data, word = bytes(data), self.link.identity.word
        self._check(address, len(data))
        before, behind = address % word, -(address + len(data)) % word
        # Words that are written in part keep the rest.
        if before and data:
            data = self.read(address - before, before) + data
        if behind and data:
            data += self.read(address + len(data) - before, behind)
        address -= before
        block = self.link.identity.block
        self._carry_out([Request(Kind.WRITE_MEMORY, len(part), address + n, part)
                         for n, part in parts(data, block)])

    load = write

    def read(self, address, count):
        """Bytes of memory."""
        self._check(address, count)
        word, block = self.link.identity.word, self.link.identity.block
        start, end = address // word * word, -(-(address + count) // word) * word
        answers = self._carry_out([
            Request(Kind.READ_MEMORY, min(block, end - place), place)
            for place in range(start, end, block)]) if count else []
        data = b"".join(answer.payload for answer in answers)
        return data[address - start:address - start + count]

    def _check(self, address, count):
        if address < 0 or address + count > self.memory_bytes:
            raise UserError(f"the board's memory has {self.memory_bytes} bytes; {count} bytes at "
                            f"{address} lie outside")

    def _carry_out(self, requests):
        answers = self.link.ask_all(requests)
        for asked, answer in zip(requests, answers):
            if answer.status == Status.SILENT:
                raise UserError(f"the board's memory does not answer at {asked.address:#x}; does "
                                "it have power and its clock?")
            if answer.status != Status.OK:
                raise UserError(f"the board's memory answered {answer.status.name} to "
                                f"{asked.kind.name} of {asked.count} bytes at {asked.address:#x}")
        return answers

    def _registers(self, kind, what, *arguments):
        answer = self.link.ask(Request(kind, *arguments))
        if answer.status != Status.OK:
            raise UserError(f"the machine refused to {what}")
        return struct.unpack(f"<{len(answer.payload) // 4}I", answer.payload)

    def write_register(self, name, value):
        """Write a register by name."""
        self._registers(Kind.WRITE_REGISTER, f"write register {name}", 4,
                        rm.BY_NAME[name].offset, struct.pack("<I", value))

    def read_register(self, name):
        """Read a register by name."""
        return self._registers(Kind.READ_REGISTERS, f"read register {name}", 4,
                               rm.BY_NAME[name].offset)[0]

    def program(self, words):
        """Write program memory: a list of 128-bit instructions."""
        if len(words) > self.config.program:
            raise UserError(f"the program has {len(words)} instructions, program memory of "
                            f"configuration {self.config} holds {self.config.program}")
        self.write_register("program_address", 0)
        data = b"".join(word.to_bytes(16, "little") for word in words)
        for _, part in parts(data, self.link.identity.block):
            self._registers(Kind.WRITE_REGISTER, "write program memory", len(part),
                            rm.BY_NAME["program_data"].offset, part)

    def start(self):
        """Start the program."""
        self.write_register("control", rm.START)

    def run(self, cycles):
        """Let up to ``cycles`` cycles pass, fewer if the run ends; the status afterwards."""
        seconds = cycles / self.link.identity.clock_hz
        self.link.ask(Request(Kind.WAIT, 0, cycles, b"", seconds))
        return self.read_register("status")

    def emitted(self):
        """Values that the program emitted since the last call."""
        count = self.read_register("emitted_count")
        return list(self._registers(Kind.TAKE_REGISTER, "read register emitted", 4 * count,
                                    rm.BY_NAME["emitted"].offset)) if count else []

    def cause(self):
        """Why the last run ended."""
        return rm.Cause(self.read_register("cause"))

    def counters(self):
        """Event counters of the run, by name."""
        names = [name for name, _ in rm.COUNTERS]
        words = self._registers(Kind.READ_REGISTERS, "read its counters", 8 * len(names),
                                rm.BY_NAME[f"{names[0]}_low"].offset)
        return {name: words[2 * n] | words[2 * n + 1] << 32 for n, name in enumerate(names)}


def parts(data, size):
    """(place, bytes) of the parts of ``data`` of up to ``size`` bytes."""
    return [(n, data[n:n + size]) for n in range(0, len(data), size)]
