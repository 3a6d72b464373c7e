"""An image of a synthetic study, as a file and as a data set. Needs no DICOM library: senders start fast."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def uid(name: str) -> str:
    """A UID of 44 characters from a text (PS3.5 annex B.2): any one can take the place of any other."""
    digest = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "big")
    return f"2.25.{10**38 + digest % 10**38}"


@dataclass(frozen=True)
class Slice:
    """An image, made from a file of a series by giving it new UIDs.

    Attributes:
        file: what it is made from: Part 10, Explicit VR Little Endian.
        old: study, series and SOP Instance UID in the file.
        new: those in their place, each of the same length.
    """

    file: Path
    old: tuple[str, str, str]
    new: tuple[str, str, str]
    sop_class_uid: str = CT_IMAGE_STORAGE

    @property
    def study_instance_uid(self) -> str:
        return self.new[0]

    @property
    def sop_instance_uid(self) -> str:
        return self.new[2]

    @property
    def size(self) -> int:
        """Bytes of the data set."""
        with self.file.open("rb") as file:
            start = _data_set_start(file.read(144))
        return self.file.stat().st_size - start

    def part10(self) -> bytes:
        """The whole file with the new UIDs."""
        content = self.file.read_bytes()
        for old, new in zip(self.old, self.new, strict=True):
            content = content.replace(old.encode(), new.encode())
        return content

    def data_set(self) -> bytes:
        """The encoded data set with the new UIDs: what a C-STORE carries."""
        content = self.part10()
        return content[_data_set_start(content) :]


def _data_set_start(content: bytes) -> int:
    # 128 bytes of preamble, DICM, then (0002,0000), whose value is the length of the rest of the file meta.
    return 144 + int.from_bytes(content[140:144], "little")
