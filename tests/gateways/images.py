"""Images as they are sent."""

from pydicom.dataset import Dataset
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, EXPLICIT, encode

from medbus.gateways.dicom.outgoing import Outgoing


def outgoing(image: Dataset, data: bytes | None = None, **changes: str) -> Outgoing:
    """An image on its way; changes are to the command, `data` is what is sent instead."""
    syntax = changes.get("transfer_syntax_uid", EXPLICIT)
    content = encode(image, syntax) if data is None else data
    return Outgoing(
        sop_class_uid=changes.get("sop_class_uid", str(image.get("SOPClassUID", CT_IMAGE_STORAGE))),
        sop_instance_uid=changes.get("sop_instance_uid", str(image.get("SOPInstanceUID", ""))),
        transfer_syntax_uid=syntax,
        size=len(content),
        content=content,
    )
