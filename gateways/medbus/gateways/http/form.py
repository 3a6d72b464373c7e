"""What happens in a body of multipart/form-data (RFC 7578), as its bytes come. Pure."""

from typing import NamedTuple

from python_multipart.multipart import MultipartParser, parse_options_header

MEDIA_TYPE = "multipart/form-data"


class Begun(NamedTuple):
    """A part began; its headers have come. Texts are empty where they are not said."""

    name: str
    filename: str


class Ended(NamedTuple):
    """The part ended."""


Happening = Begun | bytes | Ended
"""A part begins, has some bytes, and ends; then the next one."""


def boundary_of(content_type: str) -> bytes:
    """What parts the parts; empty if the header does not say it."""
    return parse_options_header(content_type)[1].get(b"boundary", b"")


class Form:
    """Keeps no more of a body than the headers of a part.

    Args:
        boundary: parts the parts.

    Attributes:
        ended: whether the last boundary has come.

    Raises:
        FormParserError: it is none.
    """

    def __init__(self, boundary: bytes) -> None:
        self.ended = False
        self._happened: list[Happening] = []
        self._field = self._value = self._disposition = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_ended,
                "on_headers_finished": self._begun,
                "on_part_data": self._data,
                "on_part_end": self._part_ended,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> list[Happening]:
        """What happens in the next bytes.

        Raises:
            FormParserError: they are none of such a body.
        """
        self._happened = []
        self._parser.write(chunk)
        return self._happened

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ended(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _begun(self) -> None:
        _, said = parse_options_header(self._disposition)
        name, filename = (said.get(each, b"").decode("utf-8", "replace") for each in (b"name", b"filename"))
        self._happened.append(Begun(name, filename))
        self._disposition = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._happened.append(data[start:end])

    def _part_ended(self) -> None:
        self._happened.append(Ended())

    def _end(self) -> None:
        self.ended = True
