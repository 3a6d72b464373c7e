"""Who is let in, who is not, and how the gateway stands what peers do wrong."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from tests.gateways import dcmtk
from tests.gateways.dicom.encoded import ct, encode
from tests.gateways.images import outgoing
from tests.gateways.site import Site

from medbus.gateways.dicom.client import verify
from medbus.gateways.dicom.client.fetcher import STUDY_ROOT_GET
from medbus.gateways.dicom.client.finder import STUDY_ROOT_FIND
from medbus.gateways.dicom.client.peer import PeerUnreachable
from medbus.gateways.dicom.command import Command, Field
from medbus.gateways.dicom.presentation import VERIFICATION
from medbus.gateways.dicom.pynetdicom import messages
from medbus.gateways.dicom.status import SUCCESS
from medbus.schemas.events import RejectionReason, RequestRejected
from medbus.schemas.topics import DECISIONS

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


WORKLIST_FIND = "1.2.840.10008.5.1.4.31"


async def echo(site: Site, calling: str = "MODALITY", called: str = "MEDBUS") -> dcmtk.Finished:
    """C-ECHO by dcmtk."""
    return await dcmtk.run("echoscu", "-v", "-aet", calling, "-aec", called, "127.0.0.1", site.port)


async def associate(site: Site, ask: Callable[[AE], None], **options: object) -> Association:
    """An association by pynetdicom as others use it."""

    def work() -> Association:
        ae = AE("MODALITY")
        ask(ae)
        return ae.associate("127.0.0.1", site.port, ae_title="MEDBUS", **options)  # type: ignore[arg-type]

    return await asyncio.to_thread(work)


async def gone(threads: set[threading.Thread]) -> bool:
    """Whether only these threads are left."""
    for _ in range(100):
        if not [each for each in threading.enumerate() if "Acceptor" in each.name and each not in threads]:
            return True
        await asyncio.sleep(0.1)
    return False


async def test_a_contracted_peer_may_verify(served: Site) -> None:
    finished = await echo(served)
    assert finished.code == 0, finished.output
    assert served.auth.kinds() == ["VerificationRequested"]
    assert await verify(served.peer()) == SUCCESS


async def test_a_stranger_is_rejected_and_the_log_says_why(served: Site) -> None:
    finished = await echo(served, calling="STRANGER")
    assert finished.code != 0
    assert "Result: Rejected Permanent, Source: Service User" in finished.output
    assert "Reason: Calling AE Title Not Recognized" in finished.output
    [request] = served.auth.asked
    rejections = await served.events(DECISIONS, RequestRejected)
    [rejection] = [each for each in rejections if each.request_id == request.request_id]
    assert rejection.reason is RejectionReason.UNKNOWN_SUBSCRIBER


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (RejectionReason.CONTRACT_CANCELLED, "Calling AE Title Not Recognized"),
        (RejectionReason.WRONG_NETWORK, "Calling AE Title Not Recognized"),
        (RejectionReason.WRONG_ROLE, "No Reason"),
        (RejectionReason.NO_CAPACITY_LEFT, "Local Limit Exceeded"),
        (RejectionReason.PAYMENT_REQUIRED, "Local Limit Exceeded"),
        (RejectionReason.UNDECIDABLE, "Temporary Congestion"),
    ],
)
async def test_each_reason_has_its_answer(served: Site, reason: RejectionReason, said: str) -> None:
    served.auth.answer = lambda request: served.auth.reject(request, reason)
    finished = await echo(served)
    assert f"Reason: {said}" in finished.output
    transient = reason in (
        RejectionReason.NO_CAPACITY_LEFT,
        RejectionReason.PAYMENT_REQUIRED,
        RejectionReason.UNDECIDABLE,
    )
    assert f"Result: Rejected {'Transient' if transient else 'Permanent'}" in finished.output


async def test_nobody_is_let_in_while_nobody_decides_and_nobody_else_waits(served: Site) -> None:
    decide = served.auth.decide
    served.auth.answer = lambda each: None if each.evidence.calling_ae_title == "SLOW" else decide(each)
    slow = asyncio.create_task(echo(served, calling="SLOW"))
    await asyncio.sleep(0.5)
    begun = time.monotonic()
    assert (await echo(served)).code == 0
    assert time.monotonic() - begun < 2, "an undecided association blocked another"
    finished = await slow
    assert "Result: Rejected Transient" in finished.output
    assert "Reason: Temporary Congestion" in finished.output


async def test_a_wrong_called_ae_title_is_rejected_without_asking(served: Site) -> None:
    finished = await echo(served, called="OTHER")
    assert "Result: Rejected Permanent, Source: Service User" in finished.output
    assert "Reason: Called AE Title Not Recognized" in finished.output
    assert served.auth.asked == []


async def test_only_what_was_granted_is_accepted(served: Site) -> None:
    decide = served.auth.decide

    def only_queries(request: object) -> object:
        if type(request).__name__ == "QueryRequested":
            return decide(request)  # type: ignore[arg-type]
        return served.auth.reject(request, RejectionReason.WRONG_ROLE)  # type: ignore[arg-type]

    served.auth.answer = only_queries  # type: ignore[assignment]

    def ask(ae: AE) -> None:
        ae.add_requested_context(CTImageStorage)
        ae.add_requested_context(STUDY_ROOT_FIND)
        ae.add_requested_context(VERIFICATION)
        ae.add_requested_context(WORKLIST_FIND)

    association = await associate(served, ask)
    try:
        assert association.is_established
        assert sorted(served.auth.kinds()) == ["QueryRequested", "RegistrationRequested"]
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        assert accepted == {STUDY_ROOT_FIND, VERIFICATION}
        refused = {context.abstract_syntax: context.result for context in association.rejected_contexts}
        assert refused == {CTImageStorage: 1, WORKLIST_FIND: 3}
    finally:
        await asyncio.to_thread(association.release)


async def test_storage_with_the_requester_as_provider_belongs_to_the_query(served: Site) -> None:
    def ask(ae: AE) -> None:
        ae.add_requested_context(STUDY_ROOT_GET)
        ae.add_requested_context(CTImageStorage)

    association = await associate(served, ask, ext_neg=[build_role(CTImageStorage, scp_role=True)])
    try:
        assert served.auth.kinds() == ["QueryRequested"]
        [storage] = [cx for cx in association.accepted_contexts if cx.abstract_syntax == CTImageStorage]
        assert (storage.as_scu, storage.as_scp) == (False, True)
    finally:
        await asyncio.to_thread(association.release)


async def test_the_first_transfer_syntax_is_taken_for_images(served: Site) -> None:
    private = "1.2.826.0.1.3680043.10.999.7"

    def ask(ae: AE) -> None:
        ae.add_requested_context(CTImageStorage, [private, ImplicitVRLittleEndian])

    association = await associate(served, ask)
    try:
        [context] = association.accepted_contexts
        assert context.transfer_syntax == [private]
    finally:
        await asyncio.to_thread(association.release)


async def test_ten_silent_sockets_block_nobody(served: Site) -> None:
    before = set(threading.enumerate())
    silent = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(10)]
    try:
        begun = time.monotonic()
        assert (await echo(served)).code == 0
        assert await served.store(outgoing(ct())) == [SUCCESS]
        assert time.monotonic() - begun < 3
        assert await gone(before), "silent sockets keep threads"
        for each in silent:
            each.settimeout(5)
            assert await asyncio.to_thread(each.recv, 100) == b"", "a silent socket stays open"
    finally:
        for each in silent:
            each.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: medbus\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + bytes(200),
        bytes(1000),
        b"\x01\x00\xff\xff\xff\xff" + bytes(100),
        b"\x04\x00" + struct.pack(">I", 12) + struct.pack(">IBB", 8, 1, 3) + bytes(6),
        b"\x01\x00" + struct.pack(">I", 68) + b"\x00\x09" + bytes(66),
    ],
    ids=["http", "tls", "zeros", "endless", "data-first", "protocol-9"],
)
async def test_garbage_on_the_port_is_shaken_off(served: Site, garbage: bytes) -> None:
    before = set(threading.enumerate())
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(garbage)
        connection.settimeout(10)
        answer = await asyncio.to_thread(_all, connection)
    assert answer[:1] in (b"", b"\x03", b"\x07"), "anything but a rejection or an abort"
    assert await gone(before)
    assert (await echo(served)).code == 0


async def test_half_an_association_is_given_up(served: Site) -> None:
    before = set(threading.enumerate())
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(b"\x01\x00" + struct.pack(">I", 200) + bytes(50))
        connection.settimeout(10)
        begun = time.monotonic()
        await asyncio.to_thread(_all, connection)
        assert time.monotonic() - begun < 8
    assert await gone(before)
    assert (await echo(served)).code == 0


async def test_a_peer_that_leaves_in_the_middle_of_an_image_leaves_nothing(served: Site) -> None:
    before = set(threading.enumerate())
    image = ct(PixelData=bytes(4_000_000), Rows=1000, Columns=2000)

    def work() -> None:
        peer = served.peer().requester([(str(image.SOPClassUID), ["1.2.840.10008.1.2.1"])])
        peer.__enter__()
        association = peer._association
        half = outgoing(image, encode(image)[:3_000_000])
        sent = messages._send_fragment
        command = Command(
            field=Field.C_STORE,
            has_data=True,
            message_id=1,
            affected_class=half.sop_class_uid,
            affected_instance=half.sop_instance_uid,
        )
        messages.send(association, 1, command)
        assert isinstance(half.content, bytes)
        for start in range(0, len(half.content), 100_000):
            messages._wait_for_room(association, 5)
            sent(association, 1, 0, half.content[start : start + 100_000])
        while association.dul.to_provider_queue.qsize():
            time.sleep(0.01)
        association.dul.socket.socket.close()  # type: ignore[union-attr]
        association.kill()

    await asyncio.wait_for(asyncio.to_thread(work), 20)
    assert await gone(before)
    await served.settled()
    assert await served.images.image(image.SOPInstanceUID) is None
    assert await served.store(outgoing(image)) == [SUCCESS], "it can be sent again"


async def test_a_message_that_is_no_command_set_ends_only_its_association(served: Site) -> None:
    before = set(threading.enumerate())

    def ask(ae: AE) -> None:
        ae.add_requested_context(VERIFICATION)

    association = await associate(served, ask)
    messages._send_fragment(association, 1, 0b11, b"\x01\x02\x03")
    assert await gone(before)
    for _ in range(50):
        if association.is_aborted:
            break
        await asyncio.sleep(0.1)
    assert association.is_aborted
    assert (await echo(served)).code == 0


async def test_many_associations_at_once(served: Site) -> None:
    answers = await asyncio.gather(*(served.store(outgoing(ct())) for _ in range(30)))
    assert answers == [[SUCCESS]] * 30


async def test_a_port_where_nobody_listens_is_said_to_be_unreachable(served: Site) -> None:
    with pytest.raises(PeerUnreachable, match="does not answer"):
        await verify(served.peer(port=dcmtk.free_port()))
    with pytest.raises(PeerUnreachable, match="calling AE title not recognized"):
        await verify(served.peer("NOBODY"))


def _all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(4096):
            received += chunk
    except ConnectionError:
        pass
    return received
