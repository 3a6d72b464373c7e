"""The first part of a multipart body, as it comes (RFC 2046 section 5.1.1). Pure; memory stays bounded."""

from email.message import Message

from medbus.schemas.errors import MedbusError

MOST_HEADER = 64 * 1024
"""Bytes before the first part, and of its header."""

_END_OF_HEADER = b"\r\n\r\n"


class Malformed(MedbusError):
    """A body that is not multipart, or ends before its part does."""


def boundary_of(content_type: str) -> str | None:
    """The boundary that a Content-Type names; None if it is of no multipart type.

    Raises:
        Malformed: it is of one, but without a usable boundary.
    """
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_maintype() != "multipart":
        return None
    boundary = message.get_boundary() or ""
    if not 0 < len(boundary) <= 200 or not boundary.isascii():
        raise Malformed(f"The multipart type {content_type[:200]!r} has no usable boundary.")
    return boundary


class FirstPart:
    """Takes a body chunk by chunk and gives the contents of its first part.

    Args:
        boundary: of the body.

    Attributes:
        done: whether the part has come whole; nothing of what follows is looked at.
    """

    def __init__(self, boundary: str) -> None:
        self.done = False
        self._delimiter = b"\r\n--" + boundary.encode()
        # The line break before the first delimiter may be missing.
        self._held = b"\r\n"
        self._begun = False

    def feed(self, chunk: bytes) -> bytes:
        """The bytes of the part that are certain after this chunk.

        Raises:
            Malformed: the part does not begin.
        """
        if self.done:
            return b""
        self._held += chunk
        if not self._begun and not self._begin():
            return b""
        end = self._held.find(self._delimiter)
        if end >= 0:
            self.done = True
            given, self._held = self._held[:end], b""
            return given
        certain = max(0, len(self._held) - len(self._delimiter) + 1)
        given, self._held = self._held[:certain], self._held[certain:]
        return given

    def finish(self) -> None:
        """The body has ended.

        Raises:
            Malformed: before the part did.
        """
        if not self.done:
            raise Malformed("The multipart body ends before its first part does.")

    def _begin(self) -> bool:
        start = self._held.find(self._delimiter)
        header = -1 if start < 0 else self._held.find(_END_OF_HEADER, start + len(self._delimiter))
        if header < 0:
            if len(self._held) > MOST_HEADER:
                raise Malformed("The first part of the multipart body does not begin.")
            return False
        self._begun = True
        # An empty part: the line break that ends the header also begins the delimiter.
        self._held = self._held[header + len(_END_OF_HEADER) :]
        if self._held.startswith(self._delimiter[2:]):
            self._held = b"\r\n" + self._held
        return True
