"""Which frames of which objects make a stack, in which order, and what is irregular about it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from medbus.streams.processing.dicom.elements import number, text
from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.geometry import (
    SAME_DIRECTION,
    Finding,
    FrameReference,
    Irregularity,
    Plane,
    StackGeometry,
    affine_of,
    irregularities,
    spread,
)
from medbus.streams.processing.dicom.image import Image, image_of
from medbus.streams.processing.dicom.planes import pixel_spacing, plane_of, slice_spacing
from medbus.streams.processing.dicom.scale import Scale, scale_of

SAME_PLACE = 0.01
"""mm along the normal within which two frames are at the same place."""


class Slot(NamedTuple):
    """A frame in a stack.

    Attributes:
        object: index of its object among those that were arranged.
        frame: from 0.
        scale: of its stored values.
    """

    object: int
    frame: int
    scale: Scale


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Arrangement:
    """A stack before its pixels are decoded.

    Attributes:
        slots: the frames in the order of the slices.
        image: what the first of them says about pixels; all have its rows, columns and photometric
            interpretation.
        dtype: of the stored values: one that holds those of all objects; float32 if the objects are rescaled
            differently, as PET is, because a stack has one slope.
        geometry: where it lies.
        findings: what is irregular about it.
    """

    slots: tuple[Slot, ...]
    image: Image
    dtype: "np.dtype[np.generic]"
    geometry: StackGeometry
    findings: tuple[Finding, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the stack, once for each channel of a colour image."""
        return len(self.slots) * self.image.rows * self.image.columns * self.dtype.itemsize


@dataclass(frozen=True, eq=False, slots=True)
class _Candidate:
    """A frame that wants to be in a stack."""

    header: Dataset
    image: Image
    object: int
    frame: int
    plane: Plane | None

    @property
    def reference(self) -> FrameReference:
        return FrameReference(
            text(self.header, "SOPClassUID"),
            text(self.header, "SOPInstanceUID"),
            None if self.image.frames == 1 else self.frame + 1,
        )

    def order(self) -> tuple[float, float, float, float, str, int]:
        """Which of several frames at one place is the first."""
        numbers = (
            number(self.header, keyword)
            for keyword in ("TemporalPositionIdentifier", "EchoTime", "AcquisitionNumber", "InstanceNumber")
        )
        time, echo, acquisition, instance = (0.0 if each is None else each for each in numbers)
        return time, echo, acquisition, instance, self.reference.sop_instance_uid, self.frame


def arrange(headers: Sequence[Dataset]) -> tuple[Arrangement, ...]:
    """Arrange the frames of objects in stacks, by where they lie. The order of the objects makes no
    difference.

    Frames of one series, frame of reference, size, pixel spacing and orientation make a stack, along the
    normal of their planes (row x column), the least depth first. Of frames at the same place the first is
    taken, by temporal position, echo time, acquisition number and instance number, and the others are left
    out, with a finding; if there are as many at every place, they become as many stacks. Frames without a
    position make a stack of their own for each object, in their order: one slice, or a stack over time.

    Args:
        headers: the objects, with or without pixels.

    Returns:
        The stacks, those with the most slices first.

    Raises:
        UnusableImage: there is no object, or one of them has no pixels that can be processed.
    """
    if not headers:
        raise UnusableImage("There are no images.", "Choose some.")
    placed: defaultdict[tuple[object, ...], list[_Candidate]] = defaultdict(list)
    made: list[Arrangement] = []
    seen: set[str] = set()
    for index in sorted(range(len(headers)), key=lambda each: text(headers[each], "SOPInstanceUID")):
        header = headers[index]
        image = image_of(header)
        if (uid := text(header, "SOPInstanceUID")) in seen:
            continue
        seen.add(uid)
        frames = [
            _Candidate(header, image, index, frame, plane_of(header, frame)) for frame in range(image.frames)
        ]
        loose = [each for each in frames if each.plane is None]
        if loose:
            made.append(_without_position(loose))
        for each in frames:
            if each.plane is not None:
                placed[_alike(each)].append(each)
    for candidates in placed.values():
        for group in _by_orientation(candidates):
            made.extend(_stacks(group))
    return tuple(
        sorted(made, key=lambda each: (-len(each.slots), each.geometry.sources[0][0].sop_instance_uid))
    )


def _alike(candidate: _Candidate) -> tuple[object, ...]:
    header, image = candidate.header, candidate.image
    spacing = candidate.plane.spacing if candidate.plane is not None else (0.0, 0.0)
    return (
        text(header, "SeriesInstanceUID"),
        text(header, "FrameOfReferenceUID"),
        image.rows,
        image.columns,
        image.photometric,
        round(spacing[0], 4),
        round(spacing[1], 4),
    )


def _by_orientation(candidates: Iterable[_Candidate]) -> list[list[_Candidate]]:
    groups: list[list[_Candidate]] = []
    for each in candidates:
        for group in groups:
            if _parallel(group[0].plane, each.plane):
                group.append(each)
                break
        else:
            groups.append([each])
    return groups


def _parallel(one: Plane | None, other: Plane | None) -> bool:
    return (
        one is not None
        and other is not None
        and np.allclose((*one.row, *one.column), (*other.row, *other.column), rtol=0, atol=SAME_DIRECTION)
    )


def _stacks(group: Sequence[_Candidate]) -> list[Arrangement]:
    normal = _plane(group[0]).normal
    depths = {id(each): float(np.dot(_plane(each).position, normal)) for each in group}
    places: list[list[_Candidate]] = []
    for each in sorted(group, key=lambda each: depths[id(each)]):
        if places and depths[id(each)] - depths[id(places[-1][0])] < SAME_PLACE:
            places[-1].append(each)
        else:
            places.append([each])
    for place in places:
        place.sort(key=_Candidate.order)
    most = max(len(place) for place in places)
    if most > 1 and all(len(place) == most for place in places):
        split = Finding(
            Irregularity.SPLIT,
            f"There are {most} frames at each of {len(places)} places: they are {most} stacks.",
        )
        return [_with_position([place[turn] for place in places], [split]) for turn in range(most)]
    left_out = [_duplicate(place) for place in places if len(place) > 1]
    return [_with_position([place[0] for place in places], left_out)]


def _plane(candidate: _Candidate) -> Plane:
    assert candidate.plane is not None  # noqa: S101  those without one are arranged apart
    return candidate.plane


def _duplicate(place: Sequence[_Candidate]) -> Finding:
    kept, *others = (each.reference for each in place)
    names = ", ".join(_name(each) for each in others)
    x, y, z = _plane(place[0]).position
    return Finding(
        Irregularity.DUPLICATE,
        f"{len(place)} frames are at ({x:.2f}, {y:.2f}, {z:.2f}) mm: {_name(kept)} is in the stack, {names} "
        "not.",
    )


def _name(reference: FrameReference) -> str:
    frame = "" if reference.frame is None else f" frame {reference.frame}"
    return f"{reference.sop_instance_uid}{frame}"


def _with_position(candidates: Sequence[_Candidate], findings: Sequence[Finding]) -> Arrangement:
    planes = tuple(_plane(each) for each in candidates)
    found = irregularities(spread(planes)) if len(planes) > 1 else ()
    return _arrangement(
        candidates,
        StackGeometry(
            affine=affine_of(planes),
            patient=True,
            frame_of_reference=text(candidates[0].header, "FrameOfReferenceUID"),
            sources=tuple((each.reference,) for each in candidates),
            planes=planes,
        ),
        [*findings, *found],
    )


def _without_position(candidates: Sequence[_Candidate]) -> Arrangement:
    first = candidates[0]
    spacing = pixel_spacing(first.header, first.frame)
    between = slice_spacing(first.header, first.frame)
    findings = []
    if len(candidates) > 1:
        said = "1 mm is taken" if between is None else f"{between:g} mm is what the header says"
        findings.append(
            Finding(
                Irregularity.POSITION,
                f"The {len(candidates)} frames have no position: they are in the order of their numbers, as "
                f"they follow in time; {said} for the distance between them.",
            )
        )
    if not spacing.said:
        findings.append(
            Finding(Irregularity.SPACING, "Nobody said how large a pixel is: lengths in mm are pixels.")
        )
    elif not spacing.patient:
        findings.append(
            Finding(
                Irregularity.SPACING,
                f"Pixels are {spacing.rows:g} x {spacing.columns:g} mm on the detector "
                f"({spacing.said}), not in the patient.",
            )
        )
    return _arrangement(
        candidates,
        StackGeometry(
            affine=np.array(
                (
                    (0.0, 0.0, spacing.columns, 0.0),
                    (0.0, spacing.rows, 0.0, 0.0),
                    (between or 1.0, 0.0, 0.0, 0.0),
                    (0.0, 0.0, 0.0, 1.0),
                )
            ),
            patient=False,
            frame_of_reference="",
            sources=tuple((each.reference,) for each in candidates),
        ),
        findings,
    )


def _arrangement(
    candidates: Sequence[_Candidate], geometry: StackGeometry, findings: Sequence[Finding]
) -> Arrangement:
    slots = tuple(
        Slot(each.object, each.frame, scale_of(each.header, each.frame, each.image)) for each in candidates
    )
    units = {slot.scale.units for slot in slots}
    if len(units) > 1:
        said = ", ".join(sorted(each or "none" for each in units))
        raise UnusableImage(
            f"Frames of one series are in different units: {said}.",
            "Process them apart.",
        )
    alike = len({slot.scale for slot in slots}) == 1
    dtype = np.result_type(*(each.image.dtype for each in candidates)) if alike else np.dtype(np.float32)
    if dtype not in map(np.dtype, (np.int8, np.int16, np.int32, np.uint8, np.uint16, np.float32)):
        dtype = np.dtype(np.float32)
    return Arrangement(
        slots=slots, image=candidates[0].image, dtype=dtype, geometry=geometry, findings=tuple(findings)
    )
