"""A board in Python: the device's side of the host link, before an emulator, on a bad line."""

import struct
from random import Random

from fpga.link.protocol import HEADER, IRQ, PAYLOADS, REGISTER_KINDS, Identity, Kind, Status
from hw import register_map as rm
from sw.errors import UserError
from verif.reference.link import parse, reply


__all__ = ["Board"]


class Board:
    """As a ``serial.Serial`` at whose other end is a board.

    Parameters
    ----------
    device : :class:`sw.runtime.emulator.Emulator`
    loss : float
        Chance that a byte, in either direction, is lost; as often it is another one.
    seed : int
        Of what happens to bytes.
    identity : dict
        What the board says wrongly of itself.
    """

    def __init__(self, device, *, loss=0.0, seed=1, **identity):
        self.device, self.loss, self.rng = device, loss, Random(seed)
        self.identity = Identity(**{
            "hash": device.config.hash, "block": 256, "window": 2,
            "word": device.config.word_bytes, "pages": len(device.memory) // rm.PAGE,
            "clock_hz": 10**9, "baud": 10**8, **identity})
        self.received, self.sent = bytearray(), bytearray()
        self.following, self.last = None, None
        self.timeout, self.requests = 0, []
        self.silent = self.hangs = False        # the board, and its memory

    def close(self):
        pass

    def reset_input_buffer(self):
        self.sent.clear()

    @property
    def in_waiting(self):
        return len(self.sent)

    def read(self, count):
        result, self.sent = bytes(self.sent[:count]), self.sent[count:]
        return result

    def write(self, data):
        for byte in self.spoiled(data):
            if byte:
                self.received.append(byte)
                continue
            frame = parse(bytes(self.received))
            self.received.clear()
            if frame is not None and not self.silent:
                self.sent += self.spoiled(self.carry_out(*frame))

    def spoiled(self, data):
        """What of some bytes arrives."""
        result = bytearray()
        for byte in data:
            chance = self.rng.random()
            if chance >= self.loss:
                result.append(self.rng.randrange(256) if chance > 1 - self.loss else byte)
        return result

    def carry_out(self, head, payload):
        """The reply to a request, as bytes on the line."""
        kind, number, count, address = struct.unpack("<BBHI", head)
        assert len(head) == HEADER
        if kind != Kind.IDENTIFY and number != self.following:
            if self.last is not None and number == self.last[1]:
                return reply(*self.last)
            return reply(kind, number, Status.OUT_OF_ORDER, self.following or 0, 0)
        self.requests.append(Kind(kind))
        self.following = (number + 1) % 256
        status, answer = Status.OK, b""
        try:
            assert len(payload) == (count if kind in PAYLOADS else 0)
            answer = self.access(kind, count, address, payload)
        except UserError:
            status = Status.REFUSED
        if self.hangs and kind in (Kind.READ_MEMORY, Kind.WRITE_MEMORY):
            status, answer = Status.SILENT, b""
        self.last = (kind, number, status, self.following, self.irq(), answer)
        return reply(*self.last)

    def irq(self):
        return IRQ if self.device.read_register("status") & rm.DONE else 0

    def access(self, kind, count, address, payload):
        device = self.device
        if kind == Kind.IDENTIFY:
            return self.identity.pack()
        if kind == Kind.READ_MEMORY:
            return device.read(address, count)
        if kind == Kind.WRITE_MEMORY:
            device.write(address, payload)
        elif kind == Kind.WAIT:
            device.run(address)
        elif kind in REGISTER_KINDS:
            step = 4 if kind == Kind.READ_REGISTERS else 0
            offsets = [address + n * step for n in range(count // 4)]
            names = {register.offset: register.name for register in rm.REGISTERS}
            if kind != Kind.WRITE_REGISTER:
                return struct.pack(f"<{len(offsets)}I", *(device.read_register(names[one])
                                                          for one in offsets))
            for offset, value in zip(offsets, struct.unpack(f"<{count // 4}I", payload)):
                self.write_register(names[offset], value)
        return b""

    def write_register(self, name, value):
        """The emulator takes whole instructions."""
        device = self.device
        if name == "program_address":
            self.quarters = [quarter for word in device.words[:value // 4]
                             for quarter in ((word >> 32 * n) & 0xFFFFFFFF for n in range(4))]
        elif name == "program_data":
            self.quarters.append(value)
            device.program([sum(q << 32 * n for n, q in enumerate(self.quarters[at:at + 4]))
                            for at in range(0, len(self.quarters), 4)])
        else:
            device.write_register(name, value)
