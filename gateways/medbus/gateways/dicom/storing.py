"""C-STORE: an image is durable and on the log before it is answered with success (PS3.4 Annex B)."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from medbus.blobs import BlobError, BlobStore, Writer
from medbus.gateways.dicom.conversation import Conversation
from medbus.gateways.dicom.dataset import Head, HeadScanner, UnreadableDataSet
from medbus.gateways.dicom.presentation import Service
from medbus.gateways.dicom.registrar import Registrar, blobs_failed, check_scope, unreadable
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome, Refused
from medbus.gateways.grants import Grant
from medbus.schemas.events import Blob

Buffer = bytes | bytearray | memoryview

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """What the command set of a C-STORE says, with the context's transfer syntax."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Received:
    """An image that has come in whole and was checked, but is neither durable nor registered."""

    request: StoreRequest
    grant: Grant
    head: Head
    writer: Writer


class Storing:
    """Stores images: an image is durable and on the log before it counts as stored.

    Args:
        blobs: where data sets are kept.
        registrar: puts images on the log.
    """

    def __init__(self, *, blobs: BlobStore, registrar: Registrar) -> None:
        self._blobs = blobs
        self._registrar = registrar

    async def store(
        self, conversation: Conversation, request: StoreRequest, chunks: AsyncIterator[Buffer]
    ) -> Outcome:
        """Receive, check and register one image: `receive` and `complete` in one.

        Raises:
            Unanswerable: the log does not say whether it has the image.
        """
        try:
            await self.complete(await self.receive(conversation, request, chunks))
        except Refused as error:
            return self.refused(conversation, request, error)
        return SUCCESS

    async def receive(
        self, conversation: Conversation, request: StoreRequest, chunks: AsyncIterator[Buffer]
    ) -> Received:
        """Take an image as it comes, and check it. Then `complete` it, or `abandon` it.

        Args:
            conversation: needs a grant for registration.
            request: the command.
            chunks: the encoded data set, as it comes; each is used before the next is asked for.

        Raises:
            Refused: with
                0124H: not granted, or the image lies outside the grant's scope.
                A700H: no capacity, no space, or the blob store can't be reached.
                A900H: SOP class or instance of the data set are not those of the command.
                C000H: the data set is cut short, malformed, or lacks identifiers.
        """
        grant = await conversation.grant(Service.REGISTRATION)
        writer = self._blobs.writer(request.transfer_syntax_uid)
        try:
            head = await _receive(request.transfer_syntax_uid, chunks, writer)
            _check_command(head, request)
            check_scope(head, grant)
        except BaseException:
            await writer.abort()
            raise
        return Received(request, grant, head, writer)

    async def complete(self, image: Received) -> None:
        """Make an image that has come durable, and register it. Returns when both are done.

        Raises:
            Refused: with
                0124H: the contract was cancelled meanwhile.
                0111H: other contents are registered under this SOP Instance UID; both are kept, the first is
                served, and the conflict is on the log.
                A700H: no capacity, no space, or the blob store can't be reached.
            Unanswerable: the log does not say whether it has the image.
        """
        try:
            blob = await _finish(image.writer)
            await self._registrar.register(image.grant, image.head, blob)
        finally:
            await image.writer.abort()

    async def abandon(self, image: Received) -> None:
        """Let go of an image that nobody waits for any more. Does nothing after `complete`."""
        await image.writer.abort()

    @staticmethod
    def refused(conversation: Conversation, request: StoreRequest, error: Refused) -> Outcome:
        """What the peer is told, after it was logged."""
        log.info(
            "%s: %s of %s not stored: %04XH %s",
            conversation.peer,
            request.sop_instance_uid,
            request.sop_class_uid,
            error.code,
            error,
        )
        return error.outcome


async def _receive(transfer_syntax_uid: str, chunks: AsyncIterator[Buffer], writer: Writer) -> Head:
    """Take a data set as it comes, and read its head meanwhile.

    Raises:
        Refused: it is cut short, malformed, too large, or lacks identifiers; or it can't be kept.
    """
    try:
        scanner = HeadScanner(transfer_syntax_uid)
        async for chunk in chunks:
            scanner.feed(chunk)
            await writer.write(chunk)
        return scanner.finish()
    except UnreadableDataSet as error:
        raise unreadable(error) from error
    except BlobError as error:
        raise blobs_failed(error) from error


async def _finish(writer: Writer) -> Blob:
    try:
        return await writer.finish()
    except BlobError as error:
        raise blobs_failed(error) from error


def _check_command(head: Head, request: StoreRequest) -> None:
    if head.instance.sop_class_uid != request.sop_class_uid:
        raise Refused(Code.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "SOP Class UID is not that of the command")
    if head.instance.sop_instance_uid != request.sop_instance_uid:
        raise Refused(Code.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "SOP Instance UID is not that of the command")
