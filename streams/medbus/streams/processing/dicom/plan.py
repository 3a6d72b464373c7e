"""How a result is going to be stored: as which object, with which numbers, and what it says about itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydicom.dataset import Dataset

from medbus.streams.processing.dicom.elements import items, macro, numbers, text, texts
from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.filling import Volume
from medbus.streams.processing.dicom.geometry import FrameReference, Irregularity
from medbus.streams.processing.dicom.image import image_of
from medbus.streams.processing.dicom.meaning import RESAMPLING, Code, Meaning, meaning_of
from medbus.streams.processing.dicom.placement import Placement, placed
from medbus.streams.processing.dicom.quantisation import Quantisation, ds, quantised, window
from medbus.streams.processing.dicom.scale import padding_range
from medbus.streams.processing.dicom.storage import COLOUR_CAPTURE, GREY_CAPTURE, KEPT, Layout, Storage
from medbus.streams.processing.pixels.operation import Operation, Result
from medbus.streams.processing.pixels.parameter import Settings

COLOUR_OPERATIONS = frozenset(("gaussian", "mean", "median", "unsharp"))
"""What makes sense for red, green and blue alone: values stay colours between 0 and 255."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Plan:
    """Everything that the objects of one result share.

    Attributes:
        results: one; of red, green and blue for a colour image.
        operation: that made them.
        volume: that was processed.
        placement: where they lie.
        headers: the source objects by UID.
        storage: the IOD.
        quantisation: how values are stored; None for colours.
        meaning: what the operation is in DICOM.
        resampled: whether the source was resampled before.
        window: chosen by the values; None for colours.
    """

    results: Sequence[Result]
    operation: Operation
    volume: Volume
    placement: Placement
    headers: dict[str, Dataset]
    storage: Storage
    quantisation: Quantisation | None
    meaning: Meaning
    resampled: bool
    window: dict[str, Any] | None

    @property
    def slices(self) -> int:
        """Of the result."""
        return self.results[0].stack.shape[0]

    @property
    def units(self) -> str:
        """For Rescale Type."""
        return self.results[0].stack.units[:64] or "US"

    @property
    def sources(self) -> list[Dataset]:
        """The source objects in the order of the slices."""
        return list(self.headers.values())

    @property
    def kept(self) -> bool:
        """Whether the result has the SOP class of its source."""
        return self.storage not in (GREY_CAPTURE, COLOUR_CAPTURE)

    @property
    def codes(self) -> list[Code]:
        """Of the derivation."""
        return [*([RESAMPLING] if self.resampled else []), *self.meaning.codes]

    @property
    def description(self) -> str:
        """What was done, in ASCII: it has to fit any character set."""
        said = [each.text for each in self.volume.findings if each.kind is Irregularity.RESAMPLED]
        said.append(self.results[0].text)
        if image_of(self.sources[0]).colour:
            said.insert(0, "Red, green and blue each alone" if len(self.results) == 3 else "Of the luminance")
        if self.quantisation is not None and self.quantisation.error:
            said.append(f"stored to within {self.quantisation.error:g}")
        return "; ".join(each.rstrip(".") for each in said).encode("ascii", "replace").decode()

    def of(self, sources: Sequence[FrameReference]) -> list[Dataset]:
        """The headers of the objects that these frames belong to."""
        return [self.headers[uid] for uid in dict.fromkeys(each.sop_instance_uid for each in sources)]

    def window_of(self, source: Dataset, frame: int) -> dict[str, Any]:
        """The window of a source frame where values still mean what they did and it has one, else by the
        values."""
        if self.window is None:
            return {}
        same_units = self.volume.stacks[0].units == self.results[0].stack.units
        place = macro(source, frame, "FrameVOILUTSequence") or source
        count = len(texts(place, "WindowCenter"))
        centres, widths = numbers(place, "WindowCenter", count), numbers(place, "WindowWidth", count)
        usable = count and centres is not None and widths is not None and min(widths) >= 1
        fits = self.meaning.keeps and self.meaning.window and same_units
        if not (fits and usable) or "VOILUTSequence" in place:
            return self.window
        kept: dict[str, Any] = {each: texts(place, each) for each in ("WindowCenter", "WindowWidth")}
        if said := texts(place, "WindowCenterWidthExplanation"):
            kept["WindowCenterWidthExplanation"] = said
        if function := text(place, "VOILUTFunction"):
            kept["VOILUTFunction"] = function
        return kept


def planned(
    results: Sequence[Result],
    operation: Operation,
    settings: Settings,
    volume: Volume,
    headers: Sequence[Dataset],
) -> Plan:
    """Choose how to store results; see `derived.derive`."""
    if len(results) not in (1, 3) or len(results) != len(volume.stacks):
        raise UnusableImage(
            f"{len(results)} results came of {len(volume.stacks)} stacks.", "Give the result of each stack."
        )
    if len(results) == 3 and operation.name not in COLOUR_OPERATIONS:
        raise UnusableImage(
            f"{operation.title} of red, green and blue alone are no colours.",
            f"Ask for luminance, or for one of {', '.join(sorted(COLOUR_OPERATIONS))}.",
        )
    placement = placed(
        volume.geometry,
        results[0],
        operation.shape_for(settings),
        thickness=settings.number("thickness") if "thickness" in settings else None,
        slab=operation.name != "mpr",
        reach=_reach(operation, settings, volume.geometry.spacing[0]),
    )
    given = {text(each, "SOPInstanceUID"): each for each in headers}
    used = dict.fromkeys(each.sop_instance_uid for sources in volume.geometry.sources for each in sources)
    for uid in used:
        if uid not in given:
            raise UnusableImage(f"The header of {uid} is not there.", "Give those that were arranged.")
    by_uid = {uid: given[uid] for uid in used}
    meaning = meaning_of(operation.name, settings)
    first = next(iter(by_uid.values()))
    chosen: dict[str, Any] | None = None
    if len(results) == 1:
        storage, quantisation = _grey(results[0], volume, placement, meaning, first)
        centre, width = window([results[0].stack])
        chosen = {"WindowCenter": ds(centre), "WindowWidth": ds(width), "VOILUTFunction": "LINEAR_EXACT"}
    else:
        own = _own(first, placement)
        storage, quantisation = own if own is not None and own.colour else COLOUR_CAPTURE, None
    return Plan(
        results=results,
        operation=operation,
        volume=volume,
        placement=placement,
        headers=by_uid,
        storage=storage,
        quantisation=quantisation,
        meaning=meaning,
        resampled=any(each.kind is Irregularity.RESAMPLED for each in volume.findings),
        window=chosen,
    )


def _reach(operation: Operation, settings: Settings, between: float) -> int:
    """Slices on either side that a volume filter sees: four times its lengths (a Gaussian ends there), and
    one."""
    reach = 0
    for parameter in operation.parameters:
        value = settings.get(parameter.name)
        if isinstance(value, int | float):
            pixels = {"mm": 4 * value / between, "pixel": value}.get(parameter.unit, 0)
            reach = max(reach, math.ceil(abs(pixels)))
    return reach + 1


def _own(first: Dataset, placement: Placement) -> Storage | None:
    """The IOD of the source, if it can hold the grid of the result."""
    storage = KEPT.get(text(first, "SOPClassUID"))
    if storage is None or not (placement.kept or storage.regridded):
        return None
    if storage.layout is Layout.GROUPS and not items(first, "PerFrameFunctionalGroupsSequence"):
        return None  # an enhanced image by its name only
    return storage


def _grey(
    result: Result, volume: Volume, placement: Placement, meaning: Meaning, first: Dataset
) -> tuple[Storage, Quantisation | None]:
    image = image_of(first)
    padded = bool(volume.padding) and placement.kept
    padding = padding_range(first, image) if padded else None
    code = None if padding is None else padding.least
    storages = []
    own = _own(first, placement)
    if own is not None and _fits(own, result, volume, meaning, first):
        if not own.form.rescaled and image.allocated == 8:
            storages.append(own._replace(form=replace(own.form, bits=8)))
        storages.append(own)
    for storage in (*storages, GREY_CAPTURE):
        quantisation = quantised(result.stack, storage.form, padded=padded, padding=code)
        if quantisation is not None:
            return storage, quantisation
    raise UnusableImage("Values of the result can't be stored in 16 bits.", "Choose other parameters.")


def _fits(storage: Storage, result: Result, volume: Volume, meaning: Meaning, first: Dataset) -> bool:
    """Whether the IOD can hold values of this kind."""
    if not storage.form.rescaled:
        return meaning.keeps
    if text(first, "Modality") == "PT":  # Units is no place for those of a derivative
        return result.stack.units == volume.stacks[0].units
    return not image_of(first).colour  # a luminance is grey
