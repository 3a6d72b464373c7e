"""DICOM files: the file meta information that stands before a data set (PS3.10 7)."""

import struct
from typing import BinaryIO, Final

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from medbus.gateways.dicom.encoding import LONG_VRS, SHORT_VRS, Encoding, encoding_of, recognised
from medbus.gateways.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from medbus.schemas.errors import MedbusError
from medbus.schemas.events.base import Value

__all__ = [
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION_NAME",
    "DicomdirRefused",
    "FileMeta",
    "NotDicom",
    "Part10Splitter",
    "preamble",
    "read_meta",
]

META_LIMIT: Final = 64 * 1024
"""Most bytes of file meta information."""

_PREFIX: Final = b"DICM"
_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_GROUP_LENGTH: Final = 0x0000
_SOP_CLASS_UID: Final = 0x0002
_SOP_INSTANCE_UID: Final = 0x0003
_TRANSFER_SYNTAX_UID: Final = 0x0010


class NotDicom(MedbusError):
    """A file that holds no data set."""

    def __init__(self, what: str) -> None:
        super().__init__(f"This is no DICOM file: {what}.", "Leave it out.")


class DicomdirRefused(NotDicom):
    """A DICOMDIR: a table of contents, not an image."""

    def __init__(self) -> None:
        MedbusError.__init__(
            self,
            "This is a DICOMDIR: it lists images but is none.",
            "Send the files that it lists, or the folder that they are in.",
        )


class FileMeta(Value):
    """What stands before the data set of a file.

    Args:
        transfer_syntax_uid: of the data set.
        media_storage_sop_class_uid, media_storage_sop_instance_uid: empty where the file does not say.
        offset: where the data set begins, in bytes from the start of the file.
        guessed: whether the transfer syntax is a guess by the first element, since the file does not say it.
            It is wrong if the pixel data turn out to be encapsulated (`Head.encapsulated`).
    """

    transfer_syntax_uid: str
    media_storage_sop_class_uid: str = ""
    media_storage_sop_instance_uid: str = ""
    offset: int
    guessed: bool = False


def preamble(
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    sending_ae_title: str | None = None,
    receiving_ae_title: str | None = None,
) -> bytes:
    """Preamble, prefix and file meta information: written before a data set, they make it a DICOM file.

    Args:
        sop_class_uid, sop_instance_uid, transfer_syntax_uid: of the data set.
        sending_ae_title, receiving_ae_title: of whom it comes from and whom it is for; None: it does not say.
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    if sending_ae_title is not None:
        meta.SendingApplicationEntityTitle = sending_ae_title
    if receiving_ae_title is not None:
        meta.ReceivingApplicationEntityTitle = receiving_ae_title
    file = DicomBytesIO()
    file.write(bytes(128) + _PREFIX)
    write_file_meta_info(file, meta)
    return file.getvalue()


def read_meta(file: BinaryIO) -> FileMeta:
    """Read the file meta information and leave the file at the start of the data set.

    Files without preamble, without prefix or without any file meta information are taken too, if they begin
    like a data set.

    Raises:
        NotDicom: it is no DICOM file, or a DICOMDIR (DicomdirRefused).
    """
    start = file.tell()
    splitter = Part10Splitter()
    while splitter.meta is None:
        chunk = file.read(4096)
        if not chunk:
            break
        splitter.feed(chunk)
    meta = splitter.finish()
    file.seek(start + meta.offset)
    return meta


class Part10Splitter:
    """Parts the bytes of a file, as they arrive, into file meta information and data set.

    `meta` is None until the meta information has come.
    """

    def __init__(self) -> None:
        self.meta: FileMeta | None = None
        self._head = b""

    def feed(self, chunk: bytes) -> bytes:
        """The bytes of the data set in this chunk; none until the meta information has come.

        Raises:
            NotDicom: it is no DICOM file, or a DICOMDIR (DicomdirRefused).
        """
        if self.meta is not None:
            return chunk
        self._head += chunk
        return self._split(complete=False)

    def finish(self) -> FileMeta:
        """The meta information, once the whole file was fed.

        A data set so short that it ended before it was recognised is given out by no `feed`; nothing that can
        be registered is.

        Raises:
            NotDicom: as `feed`.
        """
        if self.meta is None:
            self._split(complete=True)
        if self.meta is None:
            raise NotDicom("it ends within its file meta information")
        return self.meta

    def _split(self, *, complete: bool) -> bytes:
        head = self._head
        if len(head) < 140 and not complete:
            return b""
        start = 132 if head[128:132] == _PREFIX else 4 if head[:4] == _PREFIX else 0
        group_2 = _group_2(head, start)
        if group_2 is None:
            if len(head) > META_LIMIT:
                raise NotDicom(f"its file meta information has more than {META_LIMIT} bytes")
            return b""
        elements, offset = group_2
        if _text(elements, _SOP_CLASS_UID) == _DIRECTORY or head[offset : offset + 2] == b"\x04\x00":
            raise DicomdirRefused
        transfer_syntax_uid = _text(elements, _TRANSFER_SYNTAX_UID)
        guess = None if transfer_syntax_uid else _guess(head, offset)
        if not transfer_syntax_uid and guess is None:
            if len(head) - offset < 8 and not complete:
                return b""
            raise NotDicom("it does not begin like a data set")
        self.meta = FileMeta(
            transfer_syntax_uid=guess or transfer_syntax_uid,
            media_storage_sop_class_uid=_text(elements, _SOP_CLASS_UID),
            media_storage_sop_instance_uid=_text(elements, _SOP_INSTANCE_UID),
            offset=offset,
            guessed=guess is not None,
        )
        self._head = b""
        return head[offset:]


def _guess(head: bytes, offset: int) -> str | None:
    if len(head) - offset < 8:
        return None
    encoding = recognised(head[offset : offset + 8], Encoding())
    return None if encoding is None else encoding.transfer_syntax_uid


def _text(elements: dict[int, bytes], element: int) -> str:
    return elements.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def _group_2(head: bytes, position: int) -> tuple[dict[int, bytes], int] | None:
    """The elements of group 2 and where they end; None if they have not come whole.

    The group length is believed only where the data set is deflated: it is often wrong, but there no tag
    tells where the data set begins.
    """
    elements: dict[int, bytes] = {}
    stated = -1
    while True:
        if position == stated and encoding_of(_text(elements, _TRANSFER_SYNTAX_UID)).deflated:
            return elements, position
        if len(head) - position < 8:
            return None
        group, element, vr, length = struct.unpack_from("<HH2sH", head, position)
        if group != 0x0002:
            return elements, position
        start = position + 8
        if vr in LONG_VRS:
            if len(head) - position < 12:
                return None
            length = struct.unpack_from("<L", head, position + 8)[0]
            start = position + 12
        elif vr not in SHORT_VRS:  # some write group 2 in implicit VR too
            length = struct.unpack_from("<L", head, position + 4)[0]
        if length > META_LIMIT:
            raise NotDicom("its file meta information is damaged")
        if len(head) - start < length:
            return None
        value = head[start : start + length]
        elements[element] = value
        position = start + length
        if element == _GROUP_LENGTH and length == 4:
            stated = position + struct.unpack("<L", value)[0]
