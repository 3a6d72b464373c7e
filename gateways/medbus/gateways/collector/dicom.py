"""Collecting by DICOM: C-FIND for what is new, then C-GET, or C-MOVE to our gateway (PS3.4 C.4.2, C.4.3)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from medbus.gateways.collector.archive import Offered, search
from medbus.gateways.collector.association import association, messages
from medbus.gateways.collector.errors import Ended, SourceFailed
from medbus.gateways.collector.query import Query
from medbus.gateways.collector.session import Session
from medbus.gateways.collector.settings import Settings
from medbus.gateways.collector.source import address_of
from medbus.gateways.collector.thread import in_thread
from medbus.gateways.dicom.client.fetcher import STUDY_ROOT_GET
from medbus.gateways.dicom.client.finder import STUDY_ROOT_FIND, SYNTAXES, keys_of
from medbus.gateways.dicom.client.peer import Peer
from medbus.gateways.dicom.command import Field
from medbus.gateways.dicom.dimse import outcome_of
from medbus.gateways.dicom.outgoing import CONTEXTS_PER_ASSOCIATION
from medbus.gateways.dicom.presentation import QUERY_RETRIEVE, UNCOMPRESSED, Operation, Root
from medbus.gateways.dicom.pynetdicom.inflow import CutShort
from medbus.gateways.dicom.pynetdicom.messages import Message
from medbus.gateways.dicom.pynetdicom.requester import Requester
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome, is_pending
from medbus.gateways.dicom.storing import StoreRequest
from medbus.gateways.dicom.tls import client_context
from medbus.projections.images.query import Level

STUDY_ROOT_MOVE = next(u for u, v in QUERY_RETRIEVE.items() if v == (Root.STUDY, Operation.MOVE))

UIDS_PER_REQUEST = 100
"""How many images one request names; a longer list than some sources take would fail as a whole."""

SECONDS_TO_NEXT = 0.2
"""From one look at the catalog to the next, while images are on their way to the gateway."""

ANY_SYNTAX = (
    *UNCOMPRESSED,
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.1.99",  # deflated
)
"""Offered where a source does not say in which transfer syntaxes it has an image."""

Kinds = dict[tuple[str, str], None]
"""SOP classes with transfer syntaxes: one presentation context for each."""


async def get(session: Session, settings: Settings) -> None:
    """Fetch what is new by C-GET, each image in the transfer syntax that the source has it in.

    Raises:
        SourceFailed: the source does not do its part, or nothing can be registered.
    """
    peer = await _peer(session, settings)
    new = await _new(peer, session, settings)
    nameless = next((each for each in new if not each.sop_class_uid), None)
    if nameless is not None:
        raise SourceFailed(
            f"{peer.ae_title} does not say the SOP class of its images in C-FIND "
            f"(asked for series {nameless.series_instance_uid}), so C-GET can't be negotiated.",
            "Let the contract say C_MOVE instead.",
        )
    for kinds, images in batches(new):
        left: Sequence[Offered] = images
        while left and not session.stopped:
            settled = session.registered + session.refused
            try:
                await _get_all(peer, session, kinds, left)
                break
            except SourceFailed:
                # Some end the association when an image is refused: the others come under a new one.
                if session.registered + session.refused == settled:
                    raise
            left = [each for each in left if await _missing(session, each)]


async def move(session: Session, settings: Settings) -> None:
    """Let the source send what is new to our DICOM gateway, which registers it; wait for the catalog.

    Raises:
        SourceFailed: the source does not do its part, or the catalog shows nothing.
    """
    peer = await _peer(session, settings)
    new = await _new(peer, session, settings)
    if not new:
        return
    patient = replace(peer, timeout=settings.move_timeout)
    async with association(patient, [(STUDY_ROOT_MOVE, SYNTAXES)]) as requester:
        for some in requests(new):
            if session.stopped:
                return
            outcome = await _move(requester, settings.ae_title, some)
            if outcome.code == Code.MOVE_DESTINATION_UNKNOWN:
                raise SourceFailed(
                    f"{peer.ae_title} does not know the C-MOVE destination {settings.ae_title}.",
                    "Enter this AE title in the source, with host and port of our DICOM gateway.",
                )
            await _arrived(session, some, outcome, settings.catalog_timeout)


def batches(images: Sequence[Offered]) -> list[tuple[Kinds, list[Offered]]]:
    """Images that fit into one association each, with what to propose; one context is for the C-GET."""
    found: list[tuple[Kinds, list[Offered]]] = []
    for image in images:
        kinds = {(image.sop_class_uid, each): None for each in image.transfer_syntaxes or ANY_SYNTAX}
        for known, batch in found:
            if len(known | kinds) < CONTEXTS_PER_ASSOCIATION:
                known.update(kinds)
                batch.append(image)
                break
        else:
            found.append((kinds, [image]))
    return found


def requests(images: Sequence[Offered]) -> Iterator[list[Offered]]:
    """Images of one series each, few enough for one request."""
    ordered = sorted(images, key=lambda each: each[:2])
    for _, members in groupby(ordered, key=lambda each: each[:2]):
        series = list(members)
        for start in range(0, len(series), UIDS_PER_REQUEST):
            yield series[start : start + UIDS_PER_REQUEST]


async def _peer(session: Session, settings: Settings) -> Peer:
    source = session.source
    host, port = source.endpoint
    session.address = await address_of(host, source.terms.networks)
    tls = None if settings.tls_outgoing is None else client_context(settings.tls_outgoing)
    return Peer(
        # The address that was judged; a certificate names the host.
        host=session.address if tls is None else host,
        port=port,
        ae_title=source.apparatus.ae_title,
        calling=settings.ae_title,
        timeout=settings.timeout,
        tls=tls,
    )


async def _new(peer: Peer, session: Session, settings: Settings) -> list[Offered]:
    async with association(peer, [(STUDY_ROOT_FIND, SYNTAXES)]) as requester:
        found = await search(Query(peer, requester, settings.study_days), session, settings.images_per_look)
    session.new += len(found)
    return found


async def _get_all(peer: Peer, session: Session, kinds: Kinds, images: Sequence[Offered]) -> None:
    contexts = [(STUDY_ROOT_GET, SYNTAXES), *((uid, [syntax]) for uid, syntax in kinds)]
    receiving = sorted({uid for uid, _ in kinds})
    async with association(peer, contexts, receiving=receiving) as requester:
        for some in requests(images):
            if session.stopped:
                return
            await _get(requester, session, some)


async def _missing(session: Session, image: Offered) -> bool:
    """Whether an image is still to be fetched in this look."""
    uid = image.sop_instance_uid
    return not session.memory.waits(uid, session.now) and await session.known(uid) is None


def _keys(images: Sequence[Offered]) -> bytes:
    return keys_of(
        Level.IMAGE,
        {
            "StudyInstanceUID": images[0].study_instance_uid,
            "SeriesInstanceUID": images[0].series_instance_uid,
            "SOPInstanceUID": "\\".join(each.sop_instance_uid for each in images),
        },
    )


async def _get(requester: Requester, session: Session, images: Sequence[Offered]) -> None:
    outstanding = {each.sop_instance_uid for each in images}
    said = "it did not come"
    async for message in messages(requester.get(STUDY_ROOT_GET, _keys(images))):
        command = message.command
        if command.field == Field.C_STORE and not command.response:
            if session.stopped:
                raise Ended
            outcome = await _take(requester, session, message)
            outstanding.discard(command.affected_instance)
            await in_thread(partial(requester.answer, message, outcome))
        elif not is_pending(command.status) and command.status != Code.SUCCESS:
            outcome = outcome_of(command)
            said = f"the source answered {outcome.code:04X}H {outcome.comment}".rstrip()
    for uid in sorted(outstanding):
        session.missed(uid, said)


async def _take(requester: Requester, session: Session, message: Message) -> Outcome:
    command = message.command
    uid = command.affected_instance
    if await session.known(uid) is not None:  # more came than was asked for
        return SUCCESS
    request = StoreRequest(
        sop_class_uid=command.affected_class,
        sop_instance_uid=uid,
        transfer_syntax_uid=requester.transfer_syntax(message.context_id),
    )
    try:
        return await session.take(request, aiter(message.data))
    except CutShort:
        # If it is this image that the source can't send, the next look begins with others.
        session.missed(uid, "the source left in the middle of it")
        raise


async def _move(requester: Requester, destination: str, images: Sequence[Offered]) -> Outcome:
    outcome = SUCCESS
    async for message in messages(requester.move(STUDY_ROOT_MOVE, destination, _keys(images))):
        if not is_pending(message.command.status):
            outcome = outcome_of(message.command)
    return outcome


async def _arrived(session: Session, images: Sequence[Offered], outcome: Outcome, patience: float) -> None:
    """Wait until the catalog shows what the source says that it sent, and count it."""
    await session.caught_up(patience)
    deadline = session.now + patience
    missing = {each.sop_instance_uid for each in images}
    while True:
        for uid in sorted(missing):
            known = await session.known(uid)
            if known is not None:
                missing.discard(uid)
                session.arrived(known.size)
        # After a failure nothing more is on its way.
        if not missing or outcome != SUCCESS or session.stopped or session.now > deadline:
            break
        await session.sleep(SECONDS_TO_NEXT)
    said = "the source says that it sent it, but it was not registered: see what the DICOM gateway logs"
    if outcome != SUCCESS:
        said = f"the source answered {outcome.code:04X}H {outcome.comment}".rstrip()
    for uid in sorted(missing):
        session.missed(uid, said)
