"""An object that was chosen to be processed, and whether it can be."""

from pydicom.uid import (
    UID,
    EnhancedUSVolumeStorage,
    OphthalmicThicknessMapStorage,
    ParametricMapStorage,
)

from medbus.schemas.events import Blob, Value

_IMAGES = frozenset((EnhancedUSVolumeStorage, OphthalmicThicknessMapStorage, ParametricMapStorage))
"""SOP classes of images that are not called so."""


class Input(Value):
    """An object to be processed.

    Attributes:
        instance_number: None if it has none.
        reason: why it can't be processed; empty if it may.
    """

    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    instance_number: int | None = None
    blob: Blob
    reason: str = ""

    def order(self) -> tuple[str, str, bool, int, str, str]:
        """By study, series, number and UID; those without a number come last in their series."""
        number = self.instance_number
        return (
            self.study_instance_uid,
            self.series_instance_uid,
            number is None,
            number or 0,
            self.sop_instance_uid,
            self.blob.digest,
        )


def is_image(sop_class_uid: str) -> bool:
    """Whether objects of a SOP class (PS3.4 B.5) are images with intensities.

    A class that the Standard does not have may be one: its objects show it. Segmentations and dose grids have
    pixels, but none that can be filtered.
    """
    keyword = UID(sop_class_uid).keyword
    return not keyword or "ImageStorage" in keyword or sop_class_uid in _IMAGES


def without_image(sop_instance_uid: str, sop_class_uid: str) -> str:
    """Why an object that is no image can't be processed."""
    return f"{sop_instance_uid} has no image to process: it is {UID(sop_class_uid).name}. Choose images."
