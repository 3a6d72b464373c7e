"""Finding the images that a request names, in the image catalog and in the blob store."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medbus.blobs import BlobError, BlobNotFound, BlobStore
from medbus.bus import Partition
from medbus.projections.images import ImageReader, StoredImage
from medbus.schemas.events import Blob, ProcessingRequested, Scope, Selection
from medbus.streams.processing.planning.dividing import Unplannable
from medbus.streams.processing.planning.enclosed import input_of
from medbus.streams.processing.planning.inputs import Input, is_image, without_image

NAMED = 3
"""So many UIDs of those that were not found are named."""

AT_ONCE = 8
"""Enclosed objects whose headers are read at once."""


class Chosen(NamedTuple):
    """The images and masks of a request."""

    images: tuple[Input, ...]
    masks: tuple[Input, ...]


class Selecting:
    """Finds images.

    Args:
        images: the image catalog.
        blobs: where enclosed images are.
    """

    def __init__(self, images: ImageReader, blobs: BlobStore) -> None:
        self._images = images
        self._blobs = blobs

    async def chosen(
        self, request: ProcessingRequested, scope: Scope, before: Mapping[Partition, int]
    ) -> Chosen:
        """The images and masks that a request names.

        Of a series or a study that is what was registered before the request was decided, so that it is the
        same however often it is looked up, and of that all that are images. What is named itself comes
        whatever it is, with the reason if it can't be processed.

        Args:
            request: what was asked for.
            scope: registered images are within.
            before: the first offsets that are too late, by partition of the images.

        Raises:
            Unplannable: something is not there, or out of scope.
            OSError: the blob store fails.
        """
        return Chosen(
            await self._selected(request.images, scope, before),
            await self._selected(request.masks, scope, before),
        )

    async def _selected(
        self, selection: Selection, scope: Scope, before: Mapping[Partition, int]
    ) -> tuple[Input, ...]:
        named = await self._images.images(selection.sop_instance_uids, scope)
        _check_found("image", selection.sop_instance_uids, {each.sop_instance_uid for each in named})
        series = await self._images_of(
            before, series_instance_uids=selection.series_instance_uids, scope=scope
        )
        _check_found("series", selection.series_instance_uids, {each.series_instance_uid for each in series})
        study = await self._images_of(before, study_instance_uids=selection.study_instance_uids, scope=scope)
        _check_found("study", selection.study_instance_uids, {each.study_instance_uid for each in study})
        return (
            *(_registered(each) for each in named),
            *(_registered(each) for each in (*series, *study) if is_image(each.sop_class_uid)),
            *await self._enclosed(selection.enclosed),
        )

    async def _images_of(
        self,
        before: Mapping[Partition, int],
        *,
        scope: Scope,
        series_instance_uids: Sequence[str] = (),
        study_instance_uids: Sequence[str] = (),
    ) -> list[StoredImage]:
        if not series_instance_uids and not study_instance_uids:
            return []
        found = await self._images.select(
            series_instance_uids=series_instance_uids, study_instance_uids=study_instance_uids, scope=scope
        )
        return [each for each in found if each.position.offset < before.get(each.position.partition, 0)]

    async def _enclosed(self, blobs: Sequence[Blob]) -> list[Input]:
        found: list[Input] = []
        try:
            for start in range(0, len(blobs), AT_ONCE):
                found += await asyncio.gather(
                    *(
                        asyncio.to_thread(input_of, self._blobs.blocking, blob)
                        for blob in blobs[start : start + AT_ONCE]
                    )
                )
        except BlobNotFound as error:
            raise Unplannable(
                f"The enclosed object {error.digest} is not in the blob store.", "Send it again."
            ) from error
        except BlobError as error:
            raise ConnectionError(str(error)) from error
        return found


def _registered(image: StoredImage) -> Input:
    image_uid, sop_class = image.sop_instance_uid, image.sop_class_uid
    return Input(
        study_instance_uid=image.study_instance_uid,
        series_instance_uid=image.series_instance_uid,
        sop_instance_uid=image_uid,
        sop_class_uid=sop_class,
        instance_number=image.instance_number,
        blob=image.blob,
        reason="" if is_image(sop_class) else without_image(image_uid, sop_class),
    )


def _check_found(what: str, asked: Sequence[str], found: set[str]) -> None:
    missing = [uid for uid in dict.fromkeys(asked) if uid not in found]
    if not missing:
        return
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    raise Unplannable(
        f"No {what} that you may process is registered as {', '.join(missing[:NAMED])}{more}.",
        "Check the UIDs, and what your contract lets you see.",
    )
