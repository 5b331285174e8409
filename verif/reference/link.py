"""Frames of the host link: bytes on the line, and back."""

import struct
import zlib

from fpga.link.protocol import CHECK, HEADER, REPLY


__all__ = ["cobs", "uncobs", "frame", "request", "reply", "parse"]


def cobs(data):
    """Consistent overhead byte stuffing: the bytes without any 0, at most 1 in 254 longer.

    Reference for :class:`fpga.link.cobs_encoder.CobsEncoder`, which adds the 0 at the end.
    """
    result, group = bytearray(), bytearray()
    for byte in data:
        if byte:
            group.append(byte)
        if not byte or len(group) == 254:
            result += bytes([len(group) + 1]) + group
            full = bool(byte)
            group.clear()
    if group or not data or not full:
        result += bytes([len(group) + 1]) + group
    return bytes(result)


def uncobs(stuffed):
    """The bytes of which :func:`cobs` made ``stuffed``; None if it made none of that.

    Reference for :class:`fpga.link.cobs_decoder.CobsDecoder`, which takes the 0 at the end too.
    """
    result, at = bytearray(), 0
    while at < len(stuffed):
        code = stuffed[at]
        if not code or at + code > len(stuffed) or 0 in stuffed[at + 1:at + code]:
            return None
        result += stuffed[at + 1:at + code]
        at += code
        if code != 255 and at < len(stuffed):
            result.append(0)
    return bytes(result)


def frame(content):
    """Content with its checksum as bytes on the line, with the 0 at the end."""
    return cobs(content + struct.pack("<I", zlib.crc32(content))) + b"\0"


def request(kind, sequence, count=0, address=0, payload=b""):
    """A request on the line."""
    return frame(struct.pack("<BBHI", kind, sequence, count, address) + payload)


def reply(kind, sequence, status, following, flags, payload=b""):
    """A reply on the line."""
    return frame(struct.pack("<BBHBBBB", kind | REPLY, sequence, len(payload), status, following,
                             flags, 0) + payload)


def parse(stuffed):
    """Header and payload of a frame without its 0 at the end; None if it is damaged."""
    content = uncobs(stuffed)
    if content is None or len(content) < HEADER + CHECK:
        return None
    content, check = content[:-CHECK], content[-CHECK:]
    if struct.pack("<I", zlib.crc32(content)) != check:
        return None
    return content[:HEADER], content[HEADER:]
