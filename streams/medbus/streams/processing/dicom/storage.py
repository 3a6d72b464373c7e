"""In which IOD a result is stored."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from pydicom import uid

from medbus.streams.processing.dicom.quantisation import Form


class Layout(Enum):
    """How the slices of a result are laid out."""

    SLICES = "an object for each slice"
    FRAMES = "an object with a frame for each slice"
    GROUPS = "an object with a frame for each slice and functional groups"


class Storage(NamedTuple):
    """An IOD for results.

    Attributes:
        sop_class_uid: of the objects.
        layout: how slices are laid out.
        form: how grey pixels are stored.
        term: which value of Image Type names the operation, from 1: the third, or the next one after those
            for which the IOD has terms of its own.
        second: the second value of Image Type: SECONDARY, since the result was made after the examination;
            PRIMARY where the IOD knows nothing else.
        colour: whether pixels can be red, green and blue.
        regridded: whether it can hold another grid than that of the source.
    """

    sop_class_uid: str
    layout: Layout = Layout.SLICES
    form: Form = Form()
    term: int = 3
    second: str = "SECONDARY"
    colour: bool = False
    regridded: bool = True


_WHOLE = Form(signed=False, rescaled=False)
_BYTE = Form(signed=False, rescaled=False, bits=8)

KEPT: Mapping[str, Storage] = MappingProxyType(
    {
        each.sop_class_uid: each
        for each in (
            Storage(uid.CTImageStorage, term=4),
            Storage(uid.MRImageStorage, term=4),
            # PS3.3 C.8.9.4: the rescale intercept is 0.
            Storage(uid.PositronEmissionTomographyImageStorage, form=Form(intercept=False), second="PRIMARY"),
            Storage(uid.ComputedRadiographyImageStorage, form=Form(signed=False)),
            # PS3.3 C.8.11.3: unsigned, slope 1, intercept 0.
            Storage(uid.DigitalXRayImageStorageForPresentation, form=_WHOLE, term=4, regridded=False),
            Storage(uid.DigitalXRayImageStorageForProcessing, form=_WHOLE, term=4, regridded=False),
            Storage(
                uid.DigitalMammographyXRayImageStorageForPresentation, form=_WHOLE, term=4, regridded=False
            ),
            Storage(
                uid.DigitalMammographyXRayImageStorageForProcessing, form=_WHOLE, term=4, regridded=False
            ),
            Storage(uid.SecondaryCaptureImageStorage, colour=True),
            Storage(uid.UltrasoundImageStorage, form=_BYTE, term=4, colour=True),
            Storage(uid.UltrasoundMultiFrameImageStorage, Layout.FRAMES, _BYTE, term=4, colour=True),
            Storage(uid.XRayAngiographicImageStorage, Layout.FRAMES, _WHOLE, term=4),
            Storage(uid.XRayRadiofluoroscopicImageStorage, Layout.FRAMES, _WHOLE, term=4),
            # The vectors of a nuclear medicine image (slices, angles, time slots) have no place for a
            # projection.
            Storage(
                uid.NuclearMedicineImageStorage, Layout.FRAMES, term=5, second="PRIMARY", regridded=False
            ),
            Storage(uid.EnhancedCTImageStorage, Layout.GROUPS),
            Storage(uid.EnhancedMRImageStorage, Layout.GROUPS),
            Storage(uid.EnhancedPETImageStorage, Layout.GROUPS, Form(intercept=False)),
        )
    }
)
"""SOP classes whose results stay what they are."""

SINGLE_FRAME = frozenset(each for each, storage in KEPT.items() if storage.layout is Layout.SLICES)
"""SOP classes whose frames have no number, even in an object that has several."""

GREY_CAPTURE = Storage(
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage, Layout.GROUPS, Form(signed=False)
)
"""For grey results that don't fit the SOP class of their source: 16 bits unsigned, with slope and
intercept."""
COLOUR_CAPTURE = Storage(uid.MultiFrameTrueColorSecondaryCaptureImageStorage, Layout.GROUPS, colour=True)
"""For colour results of other sources."""
