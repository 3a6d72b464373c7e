"""Results as DICOM derived objects.

Which object a result becomes:

- CT, MR, PET, CR, DX, mammography, secondary capture, ultrasound, XA, XRF, nuclear medicine and enhanced CT,
  MR and PET keep their SOP class wherever their IOD can hold the result. PET keeps its class while the unit
  stays; images that have no rescaling there (DX, mammography, ultrasound, XA, XRF) while values mean what
  they did and are not negative: they are rounded to whole numbers.
- Everything else becomes a Multi-frame Grayscale Word Secondary Capture Image, 16 bits unsigned with slope
  and intercept, with functional groups for where it lies; colour a Multi-frame True Color one. Its Modality
  is that of the source.

Patient, study, frame of reference, equipment and acquisition are those of the source, where all sources
agree.
"""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian

from medbus.streams.processing.dicom import groups
from medbus.streams.processing.dicom.describing import (
    NewSeries,
    describe,
    equipment,
    image_type,
    lossy,
    references,
)
from medbus.streams.processing.dicom.elements import numbers, text
from medbus.streams.processing.dicom.filling import Volume
from medbus.streams.processing.dicom.groups import of
from medbus.streams.processing.dicom.image import MONOCHROME, image_of
from medbus.streams.processing.dicom.meaning import MASK_IMAGE, SOURCE_IMAGE
from medbus.streams.processing.dicom.multiframe import capture, group
from medbus.streams.processing.dicom.plan import COLOUR_OPERATIONS, Plan, planned
from medbus.streams.processing.dicom.quantisation import Quantisation, ds
from medbus.streams.processing.dicom.storage import Layout
from medbus.streams.processing.dicom.template import any_yes, template
from medbus.streams.processing.pixels.operation import Operation, Result
from medbus.streams.processing.pixels.parameter import Settings

__all__ = ["COLOUR_OPERATIONS", "NewSeries", "derive", "encoded"]

_ALWAYS = (
    "AccessionNumber",
    "Manufacturer",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
"""What every image has, if only empty (PS3.3 C.7.1.1, C.7.2.1, C.7.5.1)."""


def derive(
    results: Sequence[Result],
    operation: Operation,
    settings: Settings,
    *,
    volume: Volume,
    headers: Sequence[Dataset],
    others: Sequence[Volume] = (),
    series: NewSeries,
) -> Iterator[Dataset]:
    """Write results as derived objects. CPU-bound: run it in a thread.

    One object for each slice, or one for all of them, as the IOD has it (see above). Each is complete, in
    Explicit VR Little Endian, and made when it is asked for, so that not all are in memory at once.

    Values are stored with the error that `quantisation.quantised` states. The window is the source's where
    values still mean what they did and it has one, else chosen by the values (LINEAR_EXACT, since widths
    below 1 occur). Where the grid stays, places without a pixel are Pixel Padding Value again. Pixels keep
    their photometric interpretation: MONOCHROME1 stays.

    Args:
        results: one; of red, green and blue for a colour image.
        operation: that made them.
        settings: that it had.
        volume: that was processed.
        headers: the objects that were arranged, with or without pixels.
        others: what else was processed: the mask that was subtracted.
        series: what the results are called.

    Raises:
        UnusableImage: the operation has no meaning for colours, or the results don't belong together.
        UnusableGeometry: DICOM can't say where the result lies.
    """
    plan = planned(results, operation, settings, volume, headers)
    return _Writer(plan, others, series).objects()


def encoded(dataset: Dataset) -> bytes:
    """An object of `derive` as bytes: the data set in Explicit VR Little Endian, without preamble and
    meta."""
    out = BytesIO()
    fp = DicomFileLike(out)
    fp.is_little_endian, fp.is_implicit_VR = True, False
    write_dataset(fp, dataset)
    return out.getvalue()


class _Writer:
    """Writes the objects of a plan."""

    def __init__(self, plan: Plan, others: Sequence[Volume], series: NewSeries) -> None:
        self._plan, self._others, self._series = plan, others, series
        # What all sources are asked for is asked once: there may be a thousand of them.
        self._inherited = Dataset()
        lossy(self._inherited, plan.sources)
        if any_yes(plan.sources, "BurnedInAnnotation", "YES"):
            self._inherited.BurnedInAnnotation = "YES"
        self._known: dict[tuple[int, ...], list[Dataset]] = {}

    def objects(self) -> Iterator[Dataset]:
        if self._plan.storage.layout is Layout.SLICES:
            for index in range(self._plan.slices):
                yield self._slice(index)
        else:
            yield self._frames()

    def _slice(self, index: int) -> Dataset:
        plan, placement = self._plan, self._plan.placement
        reference = plan.volume.geometry.sources[index if placement.kept else 0][0]
        own = plan.headers[reference.sop_instance_uid]
        same = placement.kept and not plan.resampled
        sources = plan.of(placement.sources[index])
        made = template([own] if same else sources, regridded=not same)
        self._common(made, index + 1)
        self._pixels(made, range(index, index + 1))
        if "FrameIncrementPointer" in made:
            del made.FrameIncrementPointer
        if placement.planes:
            plane = placement.planes[index]
            made.ImagePositionPatient = groups.position(plane)
            made.ImageOrientationPatient = groups.directions(plane)
            made.PixelSpacing = groups.lengths(plane.spacing)
            made.SliceThickness = None if plane.thickness is None else groups.lengths([plane.thickness])
            made.SliceLocation = f"{plane.depth():.4f}"
            if "SpacingBetweenSlices" in made or (not placement.kept and plan.slices > 1):
                made.SpacingBetweenSlices = groups.lengths(placement.spacing[:1])
        elif not placement.kept:
            made.PatientOrientation = None
            made.PixelSpacing = groups.lengths(placement.spacing[1:])
        made.SourceImageSequence = self._references(index)
        describe(made, sources, plan.description, plan.codes)
        made.update(of(**plan.window_of(own, 0)))
        return made

    def _frames(self) -> Dataset:
        plan, placement = self._plan, self._plan.placement
        made = template(plan.sources, regridded=not placement.kept)
        self._common(made, 1)
        self._pixels(made, range(plan.slices))
        grouped = plan.storage.layout is Layout.GROUPS
        if plan.slices > 1 or "NumberOfFrames" in plan.sources[0] or grouped:
            made.NumberOfFrames = plan.slices
        if grouped and (plan.kept or placement.planes):
            group(made, plan, self._references, self._series.dimension)
        else:
            made.SourceImageSequence = self._references(None)
            describe(made, plan.sources, plan.description, plan.codes)
            made.update(of(**plan.window_of(plan.sources[0], 0)))
            if not placement.kept:
                made.PatientOrientation = None
                if numbers(plan.sources[0], "PixelSpacing", 2):
                    made.PixelSpacing = groups.lengths(placement.spacing[1:])
        if not plan.kept:
            capture(made, plan)
        return made

    def _common(self, made: Dataset, number: int) -> None:
        plan, series = self._plan, self._series
        made.SOPClassUID = plan.storage.sop_class_uid
        made.SOPInstanceUID = series.instance(number)
        made.SeriesInstanceUID = series.uid
        made.SeriesNumber = series.number
        made.InstanceNumber = number
        made.Modality = text(plan.sources[0], "Modality") or "OT"
        title = f"{text(plan.sources[0], 'SeriesDescription')} {plan.operation.title}".strip()
        made.SeriesDescription = title if len(title) <= 64 else plan.operation.title[:64]
        made.ImageType = image_type(plan.sources, plan.meaning.term, plan.storage)
        for keyword in ("SeriesDate", "ContentDate", "InstanceCreationDate"):
            setattr(made, keyword, f"{series.when:%Y%m%d}")
        for keyword in ("SeriesTime", "ContentTime", "InstanceCreationTime"):
            setattr(made, keyword, f"{series.when:%H%M%S.%f}")
        for keyword in _ALWAYS:
            if keyword not in made:
                setattr(made, keyword, None)
        equipment(made, series, plan.description)
        made.update(self._inherited)
        made.file_meta = FileMetaDataset()
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian

    def _pixels(self, made: Dataset, slices: range) -> None:
        plan, quantisation = self._plan, self._plan.quantisation
        _, made.Rows, made.Columns = plan.results[0].stack.shape
        if quantisation is None:
            made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
            made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
            _put(made, [self._colours(index) for index in slices])
            return
        photometric = image_of(plan.sources[0]).photometric
        made.SamplesPerPixel = 1
        made.PhotometricInterpretation = (
            photometric if plan.kept and photometric in MONOCHROME else "MONOCHROME2"
        )
        bits = quantisation.dtype.itemsize * 8
        made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
        made.PixelRepresentation = int(quantisation.dtype.kind == "i")
        if quantisation.padding is not None:
            made.add_new(
                "PixelPaddingValue", "SS" if quantisation.dtype.kind == "i" else "US", quantisation.padding
            )
        # An IOD without rescaling may want to hear that the slope is 1.
        if plan.storage.form.rescaled or "RescaleSlope" in plan.sources[0]:
            made.RescaleSlope, made.RescaleIntercept = ds(quantisation.slope), ds(quantisation.intercept)
            if made.Modality != "PT" or not plan.kept:
                made.RescaleType = plan.units
        _put(made, [self._grey(quantisation, index) for index in slices])

    def _grey(self, quantisation: Quantisation, index: int) -> NDArray[Any]:
        plan = self._plan
        padding = plan.volume.padding.of(index) if plan.placement.kept else None
        values = quantisation.stored(plan.results[0].stack, index, padding)
        return values[::-1] if plan.placement.flipped else values

    def _colours(self, index: int) -> NDArray[np.uint8]:
        channels = [
            np.clip(np.rint(each.stack.load(index)), 0, 255).astype(np.uint8) for each in self._plan.results
        ]
        return np.stack(channels, axis=-1)

    def _references(self, index: int | None) -> list[Dataset]:
        """Source images of a slice; of all slices for None."""
        sources = self._plan.placement.sources
        chosen = sources if index is None else sources[index : index + 1]
        key = tuple(map(id, chosen))
        if key not in self._known:  # all slices of a volume have the same sources
            self._known = {key: references((each for frames in chosen for each in frames), SOURCE_IMAGE)}
        made = list(self._known[key])
        for other in self._others:
            masks = other.geometry.sources
            if index is not None and len(masks) == self._plan.slices:
                masks = masks[index : index + 1]
            made += references((each for frames in masks for each in frames), MASK_IMAGE)
        return made


def _put(made: Dataset, slices: Sequence[NDArray[Any]]) -> None:
    data = b"".join(np.ascontiguousarray(each, each.dtype.newbyteorder("<")).tobytes() for each in slices)
    made.add_new("PixelData", "OB" if made.BitsAllocated == 8 else "OW", data + b"\0" * (len(data) % 2))
