"""What a derived object says about where it comes from."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from medbus.streams.processing.dicom.elements import items, text, texts
from medbus.streams.processing.dicom.geometry import FrameReference
from medbus.streams.processing.dicom.groups import of
from medbus.streams.processing.dicom.meaning import PROCESSING_EQUIPMENT, Code
from medbus.streams.processing.dicom.storage import SINGLE_FRAME, Storage
from medbus.streams.processing.dicom.template import any_yes

LONGEST_DESCRIPTION = 1024
"""Characters of a Short Text."""

_LOSSY = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
"""Transfer syntaxes in which pixels have lost something, and the method (PS3.3 C.7.6.1.1.5); for the JPEG
2000 ones only if the object says so too."""
_MAYBE_LOSSLESS = frozenset(("1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"))


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class NewSeries:
    """What the caller says about the results, so that nothing here reads a clock or makes a number up.

    Attributes:
        uid: of the series.
        instance: the UID of the object of that number, from 1.
        dimension: the UID of the dimension organization, which multi-frame objects have.
        number: of the series.
        when: the request was processed; aware.
        version: of the software.
    """

    uid: str
    instance: Callable[[int], str]
    dimension: str
    number: int
    when: datetime
    version: str


def coded(code: Code) -> Dataset:
    """An item of a code sequence."""
    return of(CodeValue=code.value, CodingSchemeDesignator=code.scheme, CodeMeaning=code.meaning)


def references(frames: Iterable[FrameReference], purpose: Code) -> list[Dataset]:
    """Source images: an item for each object, with the numbers of its frames (PS3.3 table 10-3)."""
    by_object: dict[tuple[str, str], list[int]] = {}
    for frame in frames:
        numbers = by_object.setdefault((frame.sop_class_uid, frame.sop_instance_uid), [])
        if frame.frame is not None and frame.frame not in numbers and frame.sop_class_uid not in SINGLE_FRAME:
            numbers.append(frame.frame)
    made = []
    for (sop_class, instance), numbers in by_object.items():
        item = of(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance)
        if numbers:
            item.ReferencedFrameNumber = numbers
        item.PurposeOfReferenceCodeSequence = [coded(purpose)]
        made.append(item)
    return made


def evidence(headers: Sequence[Dataset]) -> list[Dataset]:
    """The sources by study and series (PS3.3 C.7.6.16, Source Image Evidence Sequence)."""
    by_series: dict[tuple[str, str], list[Dataset]] = {}
    for header in headers:
        key = text(header, "StudyInstanceUID"), text(header, "SeriesInstanceUID")
        by_series.setdefault(key, []).append(
            of(
                ReferencedSOPClassUID=text(header, "SOPClassUID"),
                ReferencedSOPInstanceUID=text(header, "SOPInstanceUID"),
            )
        )
    studies: dict[str, list[Dataset]] = {}
    for (study, series), objects in by_series.items():
        studies.setdefault(study, []).append(of(SeriesInstanceUID=series, ReferencedSOPSequence=objects))
    return [of(StudyInstanceUID=study, ReferencedSeriesSequence=each) for study, each in studies.items()]


def describe(made: Dataset, headers: Sequence[Dataset], description: str, codes: Sequence[Code]) -> None:
    """Derivation Description and Derivation Code Sequence, after those that the source has."""
    before = text(headers[0], "DerivationDescription")
    described = f"{before}; {description}" if before else description
    if len(described) > LONGEST_DESCRIPTION:  # what was done last is kept whole
        described = description[:LONGEST_DESCRIPTION]
    made.DerivationDescription = described
    earlier = items(headers[0], "DerivationCodeSequence")
    made.DerivationCodeSequence = [*earlier, *(coded(code) for code in codes)]


def equipment(made: Dataset, series: NewSeries, description: str) -> None:
    """Say who processed it (PS3.3 C.12.1.1.5); the equipment that acquired it stays above."""
    item = of(
        Manufacturer="medbus",
        ManufacturerModelName="medbus",
        SoftwareVersions=series.version[:64],
        ContributionDateTime=f"{series.when:%Y%m%d%H%M%S.%f%z}",
        ContributionDescription=description[:LONGEST_DESCRIPTION],
        PurposeOfReferenceCodeSequence=[coded(PROCESSING_EQUIPMENT)],
    )
    made.ContributingEquipmentSequence = [*items(made, "ContributingEquipmentSequence"), item]


def lossy(made: Dataset, headers: Sequence[Dataset]) -> None:
    """Once lossy, always lossy (PS3.3 C.7.6.1.1.5): said by any source, or by the transfer syntax it came
    in."""
    methods = []
    lost = any(
        any_yes(headers, keyword, "01")
        for keyword in ("LossyImageCompression", "LossyImageCompressionRetired")
    )
    for header in headers:
        syntax = str(getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", ""))
        if syntax in _LOSSY and syntax not in _MAYBE_LOSSLESS:
            lost = True
            methods.append(_LOSSY[syntax])
        elif syntax in _MAYBE_LOSSLESS and text(header, "LossyImageCompression") == "01":
            methods.append(_LOSSY[syntax])
    if not lost:
        return
    made.LossyImageCompression = "01"
    first = next((each for each in headers if text(each, "LossyImageCompressionMethod")), None)
    if first is not None:
        made.LossyImageCompressionMethod = texts(first, "LossyImageCompressionMethod")
        made.LossyImageCompressionRatio = texts(first, "LossyImageCompressionRatio")
    elif methods:
        made.LossyImageCompressionMethod = methods[0]


def image_type(headers: Sequence[Dataset], term: str, storage: Storage) -> list[str]:
    """DERIVED, SECONDARY, the source's own terms up to where the IOD has some, and the operation.

    Args:
        headers: the sources.
        term: of the operation.
        storage: says which value it is.
    """
    kept = texts(headers[0], "ImageType")[2 : storage.term - 1]
    return ["DERIVED", storage.second, *kept, *[""] * (storage.term - 3 - len(kept)), term]
