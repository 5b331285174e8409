"""The host's side of the link: requests to a board over a serial port, and its replies."""

import struct
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from fpga.link.protocol import HEADER, REPLY, Identity, Kind, Status
from sw.errors import UserError
from verif.reference.link import parse, request


__all__ = ["Request", "Answer", "HostLink"]

#: Seconds beyond the time of the line: of the driver, the cable's chip and the operating system.
PATIENCE = 0.25
#: How often a request is sent before the board counts as gone.
ATTEMPTS = 8
#: Bits of a byte on the line.
BITS = 10


@dataclass(frozen=True)
class Request:
    """What is asked, without its number; ``seconds`` is what the board may take for it."""

    kind: Kind
    count: int = 0
    address: int = 0
    payload: bytes = b""
    seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A reply."""

    kind: int
    number: int
    status: Status
    following: int
    flags: int
    payload: bytes


class HostLink:
    """Requests and replies, whatever the line loses or changes.

    Parameters
    ----------
    port : object
        As ``serial.Serial``: ``write(bytes)``, ``read(count)``, ``in_waiting``, ``timeout`` in
        seconds, ``reset_input_buffer()``.
    number : int
        Of the first request.
    seconds : float
        Most time to wait for an answer before the board has said how fast its line is.

    Members
    -------
    identity : :class:`fpga.link.protocol.Identity`
    repeated : int
        Times that something was sent again.
    """

    def __init__(self, port, *, number=0, seconds=1.0):
        self.port, self.number = port, number
        self.identity, self.repeated = None, 0
        self._seconds = seconds
        self._bytes = bytearray()
        port.reset_input_buffer()
        self.identity = self._identify()

    def ask(self, asked):
        """Carry out one request, exactly once; the :class:`Answer`."""
        number = self._next()
        for _ in self._attempts():
            self._send(number, asked)
            answer = self._receive(self._time(asked), [number])
            if answer is None:
                continue
            if answer.status == Status.OUT_OF_ORDER:
                raise UserError(f"the board expects request {answer.following} instead of "
                                f"{number}: it was reset, or another program uses it")
            return answer

    def ask_all(self, requests):
        """Carry out requests that may be carried out twice, several under way; their answers."""
        waiting, answers, rest = [], [], list(requests)[::-1]
        attempts = self._attempts()
        while waiting or rest:
            while rest and len(waiting) < self.identity.window:
                asked, number = rest.pop(), self._next()
                self._send(number, asked)
                waiting.append((number, asked))
            number, asked = waiting[0]
            answer = self._receive(sum(self._time(one) for _, one in waiting),
                                   [one for one, _ in waiting])
            if answer is not None and answer.number == number \
                    and answer.status != Status.OUT_OF_ORDER:
                answers.append(answer)
                waiting.pop(0)
                attempts = self._attempts()
                continue
            # Something was lost: all that was not answered begins anew.
            next(attempts)
            self.repeated += 1
            rest += [asked for _, asked in reversed(waiting)]
            waiting.clear()
            self._identify()
        return answers

    def _identify(self):
        """Who is there; the numbers of all older requests are forgotten."""
        number = self._next()
        for _ in self._attempts():
            # The 0 ends whatever came before.
            self._send(number, Request(Kind.IDENTIFY), before=b"\0")
            answer = self._receive(self._time(Request(Kind.IDENTIFY)), [number])
            if answer is not None and answer.kind == Kind.IDENTIFY:
                found = Identity.unpack(answer.payload)
                if isinstance(found, str):
                    raise UserError(f"the board cannot be used: {found}")
                return found

    def _next(self):
        self.number = (self.number + 1) % 256
        return self.number

    def _attempts(self):
        yield
        for _ in range(ATTEMPTS - 1):
            self.repeated += 1
            yield
        raise UserError("the board does not answer; is it the right serial port and rate, and "
                        "does the board run?")

    def _time(self, asked):
        """Seconds after which there will be no answer."""
        if self.identity is None:
            return self._seconds
        size = 2 * (HEADER + 8) + len(asked.payload) + asked.count
        return PATIENCE + 1.5 * size * BITS / self.identity.baud + asked.seconds

    def _send(self, number, asked, before=b""):
        with present():
            self.port.write(before + request(asked.kind, number, asked.count, asked.address,
                                             asked.payload))

    def _receive(self, seconds, numbers):
        """The next whole reply to a request of these numbers, or None; others are late ones."""
        end = monotonic() + seconds
        while True:
            stuffed, found, rest = self._bytes.partition(b"\0")
            if found:
                self._bytes = rest
                parts = parse(bytes(stuffed))
                if parts is not None:
                    kind, number, _, status, following, flags, _ = struct.unpack(
                        "<BBHBBBB", parts[0])
                    if kind & REPLY and number in numbers:
                        return Answer(kind & ~REPLY, number, Status(status), following, flags,
                                      parts[1])
                continue
            left = end - monotonic()
            if left <= 0:
                return None
            with present():
                self.port.timeout = left
                self._bytes += self.port.read(max(1, self.port.in_waiting))


@contextmanager
def present():
    """A port that goes away meanwhile is an error of the user's."""
    try:
        yield
    except OSError as error:
        raise UserError(f"the serial port is gone; was the cable unplugged? ({error})") from None
