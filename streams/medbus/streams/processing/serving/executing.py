"""One work item: objects out of the blob store, results into it. CPU-bound: it runs in a process of a pool.

The same item gives the same bytes every time: UIDs come from the request, the inputs and what is done, dates
from the item itself. So an item that is done twice, after a crash or a rebalance, leaves each result once.
Two requests for the same that are done at the same time have results of their own: their dates differ.
"""

import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from medbus.blobs import BlockingBlobs
from medbus.schemas.events import ItemPlanned
from medbus.streams.processing.asked import Asked, asked
from medbus.streams.processing.dicom.derived import NewSeries, derive, encoded
from medbus.streams.processing.dicom.elements import number, text
from medbus.streams.processing.dicom.errors import UnusableImage
from medbus.streams.processing.dicom.filling import Volume, fill
from medbus.streams.processing.dicom.identity import result_uid
from medbus.streams.processing.dicom.series import Arrangement, arrange
from medbus.streams.processing.pixels.catalogue import OPERATIONS
from medbus.streams.processing.pixels.errors import InvalidParameter
from medbus.streams.processing.pixels.operation import Result, Shape
from medbus.streams.processing.serving import slabbing
from medbus.streams.processing.serving.objects import Objects
from medbus.streams.processing.serving.outcome import Made, Outcome
from medbus.streams.processing.serving.scratch import Scratch

SOFTWARE: Final = metadata.version("medbus")
SYNTAX: Final = str(ExplicitVRLittleEndian)

HIGHEST_SERIES: Final = 2**31 // 100 - 1
"""Series number of a source from which the number of a result can be made (PS3.5 6.2, IS)."""


def execute(item: ItemPlanned, blobs: BlockingBlobs, *, memory: int, folder: Path | None = None) -> Outcome:
    """Do a work item.

    Frame by frame, an item is one object, and all that comes of one series is one series again, each result
    with the instance number of its source. Otherwise it is a series, of which each stack becomes a series.

    Args:
        item: what to do.
        blobs: where objects come from and results go; these are durable when it returns.
        memory: bytes of a stack and its result that may be in memory. A stack is there while it is decoded;
            where there is no memory for both of them, it goes to a file then, and so does a result with its
            grid. Some slabs, headers and an object up to `objects.SPOOLED` come on top of it.
        folder: see Scratch.

    Raises:
        InvalidParameter: the type or a parameter is not known to this server, or of another version.
        UnusableImage, UnusableGeometry, UnsuitableStack: it can't be done with these images.
        BlobError: an object is not there, or the store fails.
        OSError: there is no room for what is spooled.
    """
    start = time.perf_counter()
    request = asked(item.processing_type, item.parameters)
    _check_version(item)
    if bool(item.masks) != (request.operation.inputs == 2):
        what = "no masks" if item.masks else "images and masks"
        raise InvalidParameter(f"{request.operation.name} takes {what}.", "Ask again with the right ones.")
    made: list[Made] = []
    findings: dict[str, None] = {}
    execution = _Execution(item, request, blobs, folder)
    for stack in range(execution.stacks):
        with Scratch(folder, memory) as scratch:
            made += execution.process(stack, findings, scratch)
    return Outcome(
        made=tuple(made),
        findings=tuple(findings),
        images=len(item.images) + len(item.masks),
        bytes=sum(each.size for each in (*item.images, *item.masks)),
        milliseconds=round((time.perf_counter() - start) * 1000),
    )


def _check_version(item: ItemPlanned) -> None:
    """Of two versions only one can be done; done by another one, results would be called what they are
    not."""
    version = OPERATIONS[item.processing_type].version
    if item.version != version:
        raise InvalidParameter(
            f"The item was planned for version {item.version} of {item.processing_type}; this server has "
            f"version {version}.",
            "Update the server, and ask again."
            if item.version > version
            else "Update the planner, and ask again.",
        )


class _Execution:
    """An item whose objects are arranged."""

    def __init__(self, item: ItemPlanned, request: Asked, blobs: BlockingBlobs, folder: Path | None) -> None:
        self._item, self._request, self._blobs = item, request, blobs
        self._images = Objects(blobs, item.images, folder)
        self._arranged = arrange(self._images.headers)
        self._frames = request.operation.shape_for(request.settings) is Shape.FRAME
        self._masks: Objects | None = None
        self._masking: Sequence[Arrangement] = ()
        if item.masks:
            self._masks = Objects(blobs, item.masks, folder)
            self._masking = arrange(self._masks.headers)
            if len(self._masking) not in (1, len(self._arranged)):
                raise UnusableImage(
                    f"There are {len(self._arranged)} stacks of images and {len(self._masking)} of masks.",
                    "Give a mask for each of them, or one for all.",
                )

    @property
    def stacks(self) -> int:
        """How many there are."""
        return len(self._arranged)

    def process(self, stack: int, findings: dict[str, None], scratch: Scratch) -> list[Made]:
        """Process a stack; notes what is irregular about it."""
        request, headers = self._request, self._images.headers
        volume = self._filled(self._arranged[stack], self._images)
        others: list[Volume] = []
        if self._masks is not None:
            masking = self._masking[min(stack, len(self._masking) - 1)]
            others = [self._filled(masking, self._masks)]
        findings.update({found.text: None for filled in (volume, *others) for found in filled.findings})
        spooled = not slabbing.fits(request.operation, request.settings, (volume, *others), scratch)
        if spooled:
            volume, *others = (slabbing.kept(each, scratch) for each in (volume, *others))
        series = self._series(stack, headers)
        objects = derive(
            self._results(volume, others, scratch if spooled else None),
            request.operation,
            request.settings,
            volume=volume,
            headers=headers,
            others=others,
            series=series,
        )
        made = []
        for each in objects:
            if self._frames and len(headers) == 1 and volume.stacks[0].shape[0] == 1:
                # Results of a series are a series, in its order.
                each.InstanceNumber = _number(headers[0], "InstanceNumber", 1)
            made.append(self._stored(each))
        return made

    def _filled(self, arrangement: Arrangement, read: Objects) -> Volume:
        return fill(arrangement, read, colour=self._request.colour, resample=self._request.resample)

    def _results(self, volume: Volume, others: Sequence[Volume], scratch: Scratch | None) -> list[Result]:
        operation, settings = self._request.operation, self._request.settings
        channels = [volume.stacks, *(each.stacks for each in others)]
        if len({len(each) for each in channels}) > 1:
            raise UnusableImage("Of images and masks, some are in colour.", "Ask for luminance.")
        return [
            operation.run(each, settings)
            if scratch is None
            else slabbing.run(operation, each, settings, scratch)
            for each in zip(*channels, strict=True)
        ]

    def _series(self, stack: int, headers: Sequence[Dataset]) -> NewSeries:
        item, request = self._item, self._request
        digests = [[each.digest for each in blobs] for blobs in (item.images, item.masks)]
        basis: list[list[str]] = digests
        place = str(stack)
        if self._frames:
            objects = [self._images, *([] if self._masks is None else [self._masks])]
            basis = [[text(each, "SeriesInstanceUID") for each in group.headers] for group in objects]
            place = "frames"

        def uid(inputs: list[list[str]], part: str) -> str:
            return result_uid(
                inputs,
                operation=request.operation.name,
                settings=request.written,
                version=f"{item.version}/{SOFTWARE}",
                part=f"{item.grant_id} {part}",
            )

        source = _number(headers[0], "SeriesNumber", 0)
        kind = list(OPERATIONS).index(request.operation.name) + 1
        return NewSeries(
            uid=uid(basis, f"series {place}"),
            instance=lambda number: uid(digests, f"{stack} {number}"),
            dimension=uid(basis, f"dimension {place}"),
            number=(source * 100 if 0 <= source <= HIGHEST_SERIES else 0) + kind,
            when=item.meta.occurred_at,
            version=SOFTWARE,
        )

    def _stored(self, made: Dataset) -> Made:
        return Made(
            description=self._request.operation.describe(self._request.settings),
            study_instance_uid=text(made, "StudyInstanceUID"),
            series_instance_uid=text(made, "SeriesInstanceUID"),
            sop_class_uid=text(made, "SOPClassUID"),
            sop_instance_uid=text(made, "SOPInstanceUID"),
            blob=self._blobs.put(encoded(made), SYNTAX),
        )


def _number(header: Dataset, keyword: str, default: int) -> int:
    found = number(header, keyword)
    return default if found is None else int(found)
