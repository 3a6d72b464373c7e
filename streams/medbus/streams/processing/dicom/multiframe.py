"""Multi-frame results: functional groups for those of enhanced images, and secondary captures."""

from collections.abc import Callable, Sequence

from pydicom.dataset import Dataset

from medbus.streams.processing.dicom import groups
from medbus.streams.processing.dicom.describing import describe, evidence
from medbus.streams.processing.dicom.elements import item, texts
from medbus.streams.processing.dicom.groups import of
from medbus.streams.processing.dicom.plan import Plan
from medbus.streams.processing.dicom.template import any_yes

_PER_FRAME_GROUPS = 0x52009230
_PAGES = 0x00182001
_NOT_IN_CAPTURES = (
    "AngularViewVector",
    "DetectorVector",
    "EnergyWindowVector",
    "FrameIncrementPointer",
    "FrameTimeVector",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PhaseVector",
    "RRIntervalVector",
    "RotationVector",
    "SliceLocation",
    "SliceVector",
    "TimeSliceVector",
    "TimeSlotVector",
)
"""Of one grid, or of one modality's way to count frames."""


def group(made: Dataset, plan: Plan, references: Callable[[int], list[Dataset]], dimension: str) -> None:
    """Say what holds for all frames, and for each of them (PS3.3 C.7.6.16).

    Args:
        made: the object.
        plan: of the result.
        references: source images of a slice.
        dimension: the UID of the dimension organization.
    """
    placement = plan.placement
    first = plan.sources[0] if plan.kept else None
    shared = groups.shared_group(first, placement.planes, placement.spacing)
    per_frame = []
    for index in range(plan.slices):
        source, frame = first if len(plan.headers) == 1 else None, None
        reference = plan.volume.geometry.sources[index if placement.kept else 0][0]
        own = plan.headers[reference.sop_instance_uid]
        if placement.kept and plan.kept:
            source, frame = own, (reference.frame or 1) - 1
        plane = placement.planes[index] if placement.planes else None
        made_group = groups.frame_group(source, frame, plane, index + 1)
        made_group.FrameVOILUTSequence = [of(**plan.window_of(own, (reference.frame or 1) - 1))]
        derivation = Dataset()
        describe(derivation, plan.sources, plan.description, plan.codes)
        derivation.SourceImageSequence = references(index)
        made_group.DerivationImageSequence = [derivation]
        per_frame.append(made_group)
    if plan.kept:
        _enhance(made, plan, shared, per_frame)
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = per_frame
    groups.dimensions(made, dimension)
    made.SourceImageEvidenceSequence = evidence(plan.sources)


def _enhance(made: Dataset, plan: Plan, shared: Dataset, per_frame: Sequence[Dataset]) -> None:
    """What enhanced CT, MR and PET have beside the groups (PS3.3 C.8.16)."""
    scale = {each: made[each].value for each in ("RescaleSlope", "RescaleIntercept")}
    shared.PixelValueTransformationSequence = [of(**scale, RescaleType=plan.units)]
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        if keyword in made:
            delattr(made, keyword)
    said = texts(plan.sources[0], "ImageType")
    contrast = groups.CONTRAST.get(plan.operation.name, "FILTERED")
    image_type = ["DERIVED", "PRIMARY", said[2] if len(said) > 2 else "VOLUME", contrast]
    technique = groups.TECHNIQUE.get(plan.operation.name, "NONE")
    frame_types = [item(each, keyword) for each in (shared, *per_frame) for keyword in groups.FRAME_TYPES]
    for place in (made, *frame_types):
        if place is not None:
            setattr(place, "ImageType" if place is made else "FrameType", image_type)
            place.VolumeBasedCalculationTechnique = technique
            place.PixelPresentation = (
                "MONOCHROME"  # a supplemental palette is about the source's stored values
            )


def capture(made: Dataset, plan: Plan) -> None:
    """Say what a multi-frame secondary capture has (PS3.3 C.8.6)."""
    made.ConversionType = "WSD"
    made.BurnedInAnnotation = "YES" if any_yes(plan.sources, "BurnedInAnnotation", "YES") else "NO"
    made.PresentationLUTShape = "IDENTITY"
    for keyword in _NOT_IN_CAPTURES:
        if keyword in made:
            delattr(made, keyword)
    if "AnatomicRegionSequence" in made and not made.AnatomicRegionSequence:
        del made.AnatomicRegionSequence  # only X-ray images may have an empty one
    made.PatientOrientation = None
    if plan.slices > 1:
        grouped = "PerFrameFunctionalGroupsSequence" in made
        made.FrameIncrementPointer = _PER_FRAME_GROUPS if grouped else _PAGES
        if not grouped:
            made.PageNumberVector = list(range(1, plan.slices + 1))
