"""The header of a result before anything is said about its pixels: what it has from the objects it was made
of."""

from collections.abc import Iterable, Sequence
from copy import deepcopy

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

_DROPPED = frozenset(
    (
        "DataSetTrailingPadding",
        "DerivationCodeSequence",
        "DigitalSignaturesSequence",
        "DoubleFloatPixelData",
        "EncryptedAttributesSequence",
        "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths",
        "FloatPixelData",
        "FloatPixelPaddingRangeLimit",
        "FloatPixelPaddingValue",
        "IconImageSequence",
        "BluePaletteColorLookupTableData",
        "BluePaletteColorLookupTableDescriptor",
        "GreenPaletteColorLookupTableData",
        "GreenPaletteColorLookupTableDescriptor",
        "LargestImagePixelValue",
        "LargestPixelValueInSeries",
        "LossyImageCompressionRetired",
        "MACParametersSequence",
        "ModalityLUTSequence",
        "NumberOfFrames",
        "PixelData",
        "PixelDataProviderURL",
        "PixelIntensityRelationshipLUTSequence",
        "PixelPaddingRangeLimit",
        "PixelPaddingValue",
        "PlanarConfiguration",
        "RealWorldValueMappingSequence",
        "PaletteColorLookupTableUID",
        "RedPaletteColorLookupTableData",
        "RedPaletteColorLookupTableDescriptor",
        "ReferencedPerformedProcedureStepSequence",
        "RescaleIntercept",
        "RescaleSlope",
        "RescaleType",
        "SegmentedBluePaletteColorLookupTableData",
        "SegmentedGreenPaletteColorLookupTableData",
        "SegmentedRedPaletteColorLookupTableData",
        "SmallestImagePixelValue",
        "SmallestPixelValueInSeries",
        "SourceImageEvidenceSequence",
        "SourceImageSequence",
        "SourceInstanceSequence",
        "VOILUTFunction",
        "VOILUTSequence",
        "WindowCenter",
        "WindowCenterWidthExplanation",
        "WindowWidth",
    )
)
"""What is about stored values, or about the bytes of the source; set anew where the result has it."""

_REGRIDDED = frozenset(
    (
        "BitsForCodeWord",
        "FrameTimeVector",
        "GantryDetectorTilt",
        "ImagerPixelSpacing",
        "MaskSubtractionSequence",
        "NominalScannedPixelSpacing",
        "PixelAspectRatio",
        "PixelSpacing",
        "PixelSpacingCalibrationDescription",
        "PixelSpacingCalibrationType",
        "ImageOrientation",
        "ImageOrientationPatient",
        "ImagePosition",
        "ImagePositionPatient",
        "Location",
        "PatientOrientation",
        "RWavePointer",
        "RecommendedViewingMode",
        "RepresentativeFrameNumber",
        "SequenceOfUltrasoundRegions",
        "SliceLocation",
        "SliceThickness",
        "SpacingBetweenSlices",
    )
)
"""What is about a grid that a projection or a reformatted plane does not have."""

_FIRST = frozenset(
    (
        "AcquisitionDate",
        "AcquisitionTime",
        "ActualFrameDuration",
        "DecayFactor",
        "FrameReferenceTime",
        "ImageIndex",
        "ImageType",
        "PatientOrientation",
        "RepetitionTime",
        "SOPInstanceUID",
        "ScanningSequence",
        "SequenceVariant",
    )
)
"""What an IOD may want though sources differ: the first source's value stands."""

_EMPTY = frozenset(
    ("AcquisitionNumber", "EchoTime", "KVP", "ScanOptions", "SliceThickness", "PositionReferenceIndicator")
)
"""What an IOD wants, if only empty (type 2), though sources differ."""


def template(headers: Sequence[Dataset], *, regridded: bool) -> Dataset:
    """A copy of what the sources have in common, without what is private or says something about their
    pixels.

    Elements that differ between sources are left out; a few that an IOD wants stay as in the first source, or
    empty. Private elements, retired groups (overlays and curves included), signatures and group lengths are
    left out.

    Args:
        headers: at least one, in the order of the slices.
        regridded: whether the result has another grid than its sources.
    """
    first = headers[0]
    made = Dataset()
    for tag in first.keys():  # noqa: SIM118  iterating a data set decodes every element
        if _left_out(tag):
            continue
        keyword = keyword_for_tag(tag)
        if keyword in _DROPPED or (regridded and keyword in _REGRIDDED):
            continue
        if keyword in _FIRST or all(_same(first, header, tag) for header in headers[1:]):
            made[tag] = deepcopy(first.get_item(tag))
        elif keyword in _EMPTY:
            setattr(made, keyword, None)
    made.set_original_encoding(*first.original_encoding)
    _clean(made)
    return made


def _left_out(tag: BaseTag) -> bool:
    group = tag.group
    retired = 0x5000 <= group < 0x5200 or 0x6000 <= group < 0x7000
    return tag.is_private or tag.element == 0 or group < 8 or group >= 0x7FE0 or retired


def _same(one: Dataset, other: Dataset, tag: BaseTag) -> bool:
    if tag not in other:
        return False
    mine, theirs = one.get_item(tag), other.get_item(tag)
    if isinstance(mine, RawDataElement) and isinstance(theirs, RawDataElement):
        return bool(mine.value == theirs.value)
    return bool(one[tag].value == other[tag].value)


def _clean(dataset: Dataset) -> None:
    """Leave private elements out of items as well."""
    for element in list(dataset.elements()):
        if element.VR == "SQ":
            for item in dataset[element.tag].value:
                for tag in [tag for tag in item.keys() if tag.is_private]:  # noqa: SIM118
                    del item[tag]
                _clean(item)


def any_yes(headers: Iterable[Dataset], keyword: str, yes: str) -> bool:
    """Whether any of the sources says so."""
    return any(str(header.get(keyword, "")).strip().upper() == yes for header in headers)
