"""What the network side does with peers of every kind, good and bad."""

import asyncio
import hashlib
import random
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest
import trustme
from tests.gateways.dicom.network.scripted import (
    CT,
    IMPLICIT,
    RawPeer,
    Scripted,
    connected,
    image,
    listening,
    message,
    query,
    request,
    store,
)

from medbus.gateways.dicom.command import Command, Field
from medbus.gateways.dicom.network.acceptor import Acceptor
from medbus.gateways.dicom.network.connector import NetworkConnector
from medbus.gateways.dicom.network.requester import Requester
from medbus.gateways.dicom.outgoing import Address, Unreachable
from medbus.gateways.dicom.presentation import VERIFICATION
from medbus.gateways.dicom.settings import TlsSettings
from medbus.gateways.dicom.status import SUCCESS, Outcome, Refused, Unanswerable
from medbus.gateways.dicom.tls import client_context, server_context
from medbus.gateways.dicom.upper.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    ReleaseRequest,
    ReleaseResponse,
    UserInformation,
    encode,
)

MIB = 1024 * 1024
ECHO = Command(field=Field.C_ECHO, message_id=1, affected_class=VERIFICATION)
ACCEPT = AssociateAccept(called_ae_title="M", calling_ae_title="R", contexts=(), user=UserInformation())


async def echo(acceptor: Acceptor) -> None:
    """Others are served."""
    async with connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(message(1, ECHO))
        command, _ = await peer.response()
        assert (command.responds_to, command.status) == (1, 0)
        await peer.release()


async def until(said: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    for _ in range(500):
        if said():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)


def address(acceptor: Acceptor) -> Address:
    return Address(ae_title="MEDBUS", host="127.0.0.1", port=acceptor.port)


async def test_an_image_may_come_a_byte_at_a_time() -> None:
    service, data = Scripted(), random.Random(1).randbytes(700)
    async with listening(service) as acceptor, connected(acceptor) as peer:
        for byte in encode(request()):
            peer.writer.write(bytes((byte,)))
            await peer.writer.drain()
            await asyncio.sleep(0)
        assert isinstance(await peer.pdu(), AssociateAccept)
        for byte in store(1, data, length=100):
            peer.writer.write(bytes((byte,)))
            await asyncio.sleep(0.0002)
        command, _ = await peer.response()
        assert command.status == 0
        assert service.images == {"1.2.1": data}
        await peer.release()


@pytest.mark.parametrize("length", [1, 100, 16378, 131066, MIB - 6])
async def test_fragments_of_any_length_make_the_same_image(length: int) -> None:
    service, data = Scripted(), random.Random(2).randbytes(min(2_000_001, 2000 * length))
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(store(1, data, length=length))
        command, _ = await peer.response()
        assert (command.status, command.affected_instance) == (0, "1.2.1")
        assert service.images == {"1.2.1": data}


async def test_several_fragments_may_share_a_pdu() -> None:
    service = Scripted()
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        pdus = _pdvs(store(1, b"0123456789", length=4))
        body = b"".join(pdus)
        peer.writer.write(struct.pack(">BxI", 4, len(body)) + body)
        assert (await peer.response())[0].status == 0
        assert service.images == {"1.2.1": b"0123456789"}


async def test_a_silent_socket_is_closed_after_artim() -> None:
    async with (
        listening(Scripted(), acse_timeout=0.3) as acceptor,
        connected(acceptor) as silent,
        connected(acceptor) as trickling,
    ):
        begun = time.monotonic()
        for byte in encode(request())[:200]:
            trickling.writer.write(bytes((byte,)))
            await asyncio.sleep(0.01)
            if trickling.reader.at_eof():
                break
        assert await silent.pdu() is None
        assert await trickling.pdu() is None
        assert 0.25 < time.monotonic() - begun < 1.5, "bytes now and then must not keep a socket open"
        await echo(acceptor)


async def test_a_peer_that_does_not_close_after_its_rejection_is_closed() -> None:
    async with listening(Scripted(), acse_timeout=0.3) as acceptor, connected(acceptor) as peer:
        peer.writer.write(encode(request("OTHER")))
        assert await peer.pdu() == AssociateReject(result=1, source=1, reason=7)
        begun = time.monotonic()
        assert await peer.pdu() is None
        assert 0.2 < time.monotonic() - begun < 2


async def test_another_protocol_version_is_rejected() -> None:
    async with listening(Scripted()) as acceptor, connected(acceptor) as peer:
        pdu = bytearray(encode(request()))
        pdu[6:8] = b"\x00\x02"
        peer.writer.write(pdu)
        assert await peer.pdu() == AssociateReject(result=1, source=2, reason=2)


async def test_half_closed_before_an_association_is_the_end() -> None:
    async with listening(Scripted()) as acceptor, connected(acceptor) as peer:
        peer.writer.write(encode(request())[:20])
        peer.writer.write_eof()
        assert await peer.pdu() is None


async def test_half_closed_in_the_middle_of_an_image_leaves_nothing() -> None:
    service = Scripted()
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(store(1, bytes(100_000))[:50_000])
        peer.writer.write_eof()
        assert await peer.pdu() is None
        assert service.images == {}
        await until(lambda: acceptor.associations == 0, "the association stands")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (store(1, b"x"), Abort(source=0, reason=0)),
        (encode(ReleaseRequest()), Abort(source=0, reason=0)),
        (encode(ACCEPT), Abort(source=0, reason=0)),
        (b"\x09\x00" + struct.pack(">I", 4) + bytes(4), Abort(source=0, reason=0)),
    ],
    ids=["data", "release", "accept", "unknown"],
)
async def test_anything_but_a_request_at_first_is_aborted(sent: bytes, expected: Abort) -> None:
    async with listening(Scripted()) as acceptor, connected(acceptor) as peer:
        peer.writer.write(sent)
        assert await peer.aborted() == expected
        await echo(acceptor)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (encode(request()), Abort(source=2, reason=2)),
        (encode(ACCEPT), Abort(source=2, reason=2)),
        (encode(AssociateReject(result=1, source=1, reason=1)), Abort(source=2, reason=2)),
        (encode(ReleaseResponse()), Abort(source=2, reason=2)),
        (b"\x09\x00" + struct.pack(">I", 4) + bytes(4), Abort(source=2, reason=1)),
        (
            b"\x04\x00" + struct.pack(">I", 8) + struct.pack(">IBB", 9, 3, 3) + bytes(2),
            Abort(source=2, reason=6),
        ),
        (b"\x05\x00" + struct.pack(">I", 5) + bytes(5), Abort(source=2, reason=6)),
    ],
    ids=["request", "accept", "reject", "released", "unknown", "lengths", "long-release"],
)
async def test_pdus_out_of_order_are_aborted_by_the_provider(sent: bytes, expected: Abort) -> None:
    async with listening(Scripted()) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(sent)
        assert await peer.aborted() == expected
        await echo(acceptor)


async def test_data_before_the_decision_is_aborted_and_the_decision_not_waited_for() -> None:
    service = Scripted(opening=lambda: asyncio.sleep(5))
    async with listening(service) as acceptor, connected(acceptor) as peer:
        begun = time.monotonic()
        peer.writer.write(encode(request()) + store(1, b"x"))
        assert await peer.aborted() == Abort(source=2, reason=2)
        await until(lambda: acceptor.associations == 0, "the association stands")
        assert time.monotonic() - begun < 3


async def test_a_peer_that_leaves_before_the_decision_is_not_waited_for() -> None:
    service = Scripted(opening=lambda: asyncio.sleep(5))
    async with listening(service) as acceptor:
        async with connected(acceptor) as peer:
            peer.writer.write(encode(request()))
            await until(lambda: acceptor.associations == 1, "nobody asks")
        await until(lambda: acceptor.connections == 0, "the connection stays")


async def test_an_error_of_the_decision_lets_nobody_in() -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    async with listening(Scripted(opening=broken)) as acceptor, connected(acceptor) as peer:
        peer.writer.write(encode(request()))
        assert await peer.pdu() == AssociateReject(result=2, source=1, reason=1)


FIRST = message(3, Command(field=Field.C_STORE, has_data=True, message_id=1, affected_class=CT))


@pytest.mark.parametrize(
    "sent",
    [
        FIRST + FIRST,
        store(1, b"0" * 100, length=30)[len(FIRST) + 16 :],
        store(1, b"x", context_id=99),
        FIRST + store(1, b"x", context_id=1)[-13:],
        b"\x04\x00" + struct.pack(">IIBB", 10, 6, 1, 3) + b"\x01\x02\x03\x04",
        message(1, ECHO)[:12].replace(b"\x03", b"\x01") + bytes(80_000),
    ],
    ids=["in-a-message", "no-command", "context", "other-context", "no-command-set", "endless-command"],
)
async def test_what_is_no_message_ends_the_association(sent: bytes) -> None:
    async with listening(Scripted()) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(sent)
        assert (await peer.aborted()).source == 2
        await echo(acceptor)


async def test_requests_that_do_not_wait_are_answered_in_order() -> None:
    async def slow_first(uid: str) -> None:
        await asyncio.sleep(0.1 if uid == "1.2.1" else 0)

    service = Scripted(hold=slow_first)
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(b"".join(store(number, bytes(1000)) for number in range(1, 41)))
        answers = [(await peer.response())[0].responds_to for _ in range(40)]
        assert answers == list(range(1, 41))
        assert 1 < service.most <= 8, "they are made durable together, not too many"
        peer.writer.write(b"".join(message(1, ECHO) for _ in range(10)))
        assert [(await peer.response())[0].status for _ in range(10)] == [0] * 10
        await peer.release()


async def test_too_many_requests_that_do_not_wait_end_the_association() -> None:
    async with listening(Scripted()) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(
            b"".join(query(Field.C_MOVE, 9, number, move_destination="X") for number in range(40))
        )
        assert (await peer.aborted()).source == 2


@pytest.mark.parametrize(
    ("asked", "answered"),
    [(None, None), ((1, 1), (1, 1)), ((4, 2), (4, 2)), ((0, 0), (16, 16)), ((100, 0), (16, 16))],
)
async def test_the_window_is_negotiated(
    asked: tuple[int, int] | None, answered: tuple[int, int] | None
) -> None:
    async with listening(Scripted()) as acceptor, connected(acceptor) as peer:
        accept = await peer.associate(request(window=asked))
        assert accept.user.window == answered
        assert accept.user.maximum_length == MIB


async def test_within_the_window_answers_come_as_they_are_ready() -> None:
    async def slow_first(uid: str) -> None:
        await asyncio.sleep(0.2 if uid == "1.2.1" else 0)

    service = Scripted(hold=slow_first)
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate(request(window=(4, 1)))
        peer.writer.write(b"".join(store(number, bytes(100)) for number in range(1, 5)))
        answers = [(await peer.response())[0].responds_to for _ in range(4)]
        assert answers[-1] == 1
        assert sorted(filter(None, answers)) == [1, 2, 3, 4]
        await peer.release()


async def test_this_side_uses_the_window_that_the_peer_gives() -> None:
    service = Scripted(hold=lambda _: asyncio.sleep(0.05))
    async with listening(service) as acceptor:
        connector = NetworkConnector(None, ae_title="US", timeout=5)  # type: ignore[arg-type]
        async with connector.connect(address(acceptor), [(CT, [IMPLICIT])]) as outlet:
            assert list(outlet.accepts(CT)) == [IMPLICIT]
            images = [image(f"1.2.{number}", bytes(5000)) for number in range(40)]
            assert await asyncio.gather(*map(outlet.store, images)) == [SUCCESS] * 40
        assert 8 < service.most <= 16
    assert len(service.images) == 40


@pytest.mark.parametrize("maximum", [64, 16384, 0])
async def test_what_this_side_sends_keeps_to_the_maximum_of_the_peer(maximum: int) -> None:
    service = Scripted()
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate(request(maximum=maximum, receiving=True))
        peer.writer.write(query(Field.C_FIND, 5))
        for _ in range(20):
            found = await peer.pdu()
            assert isinstance(found, tuple)
            assert maximum == 0 or len(found[2]) + 6 <= maximum
        peer.writer.write(encode(Abort(source=0, reason=0)))
        assert await _last(peer) is None
        await until(lambda: service.cancelled == ["find"], "an abort ends a query")


async def test_a_query_is_cancelled() -> None:
    service = Scripted()
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(query(Field.C_FIND, 5, 7))
        command, data = await peer.response()
        assert (command.status, data) == (0xFF00, b"keys")
        peer.writer.write(message(5, Command(field=Field.C_CANCEL, responds_to=6)))
        peer.writer.write(message(5, Command(field=Field.C_CANCEL, responds_to=7)))
        while command.status == 0xFF00:
            command, _ = await peer.response()
        assert (command.status, command.responds_to) == (0xFE00, 7)
        await peer.release()
    assert service.cancelled == ["find"]


async def test_a_move_is_cancelled() -> None:
    service = Scripted()
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(query(Field.C_MOVE, 9, 3, move_destination="THERE"))
        await asyncio.sleep(0.05)
        peer.writer.write(message(9, Command(field=Field.C_CANCEL, responds_to=3)))
        command, _ = await peer.response()
        assert (command.status, command.remaining) == (0xFE00, 1)
        await peer.release()
    assert service.cancelled == ["move to THERE"]


async def test_a_get_is_cancelled_between_its_images() -> None:
    service = Scripted()
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate(request(receiving=True))
        peer.writer.write(query(Field.C_GET, 7, 2))
        images = 0
        while True:
            command, data = await peer.response()
            if command.response and command.status != 0xFF00:
                break
            if not command.response:
                images += 1
                assert data == bytes(1000)
                answer = Command(field=Field.C_STORE, response=True, responds_to=command.message_id, status=0)
                peer.writer.write(message(3, answer))
                if images == 3:
                    peer.writer.write(message(7, Command(field=Field.C_CANCEL, responds_to=2)))
        assert (command.status, command.completed) == (0xFE00, images)
        assert images <= 5
        await peer.release()


async def test_a_peer_that_does_not_answer_an_image_of_its_get_is_given_up() -> None:
    async with listening(Scripted(), dimse_timeout=0.2) as acceptor, connected(acceptor) as peer:
        await peer.associate(request(receiving=True))
        peer.writer.write(query(Field.C_GET, 7, 2))
        command, _ = await peer.response()
        assert command.name == "C-STORE-RQ"
        command, _ = await peer.response()
        assert (command.name, command.status) == ("C-GET-RSP", 0x0110)


@pytest.mark.parametrize("leave", ["release", "abort", "close"])
@pytest.mark.parametrize(("field", "context"), [(Field.C_FIND, 5), (Field.C_MOVE, 9)])
async def test_who_leaves_cancels(leave: str, field: Field, context: int) -> None:
    service = Scripted()
    async with listening(service) as acceptor:
        async with connected(acceptor) as peer:
            await peer.associate()
            peer.writer.write(query(field, context, move_destination="X"))
            await asyncio.sleep(0.05)
            if leave == "release":
                peer.writer.write(encode(ReleaseRequest()))
                found = await _last(peer)
                assert found == ReleaseResponse()
            elif leave == "abort":
                peer.writer.write(encode(Abort(source=0, reason=0)))
        await until(lambda: len(service.cancelled) == 1, "it goes on")
        await until(lambda: acceptor.connections == 0, "the connection stays")


async def test_what_came_before_a_release_is_answered_before_it() -> None:
    service = Scripted(hold=lambda _: asyncio.sleep(0.1))
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(store(1, b"x" * 50) + store(2, b"y" * 50) + encode(ReleaseRequest()))
        assert [(await peer.response())[0].responds_to for _ in range(2)] == [1, 2]
        assert await peer.pdu() == ReleaseResponse()


async def test_a_release_in_the_middle_of_an_image_is_agreed_to() -> None:
    service = Scripted()
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(store(1, bytes(20_000), length=10_000)[:-10_012] + encode(ReleaseRequest()))
        assert await peer.pdu() == ReleaseResponse()
        assert service.images == {}


async def test_a_hundred_associations_at_once() -> None:
    service = Scripted(hold=lambda _: asyncio.sleep(0.02))
    ready = asyncio.Barrier(100)

    async def work(acceptor: Acceptor, number: int) -> None:
        async with connected(acceptor) as peer:
            await peer.associate()
            await ready.wait()
            assert acceptor.associations == 100
            for each in range(3):
                peer.writer.write(store(3 * number + each + 1, bytes(50_000)))
                assert (await peer.response())[0].status == 0
            await ready.wait()
            await peer.release()

    async with listening(service) as acceptor:
        await asyncio.gather(*(work(acceptor, number) for number in range(100)))
    assert len(service.images) == 300


async def test_more_associations_than_the_limit_are_rejected_and_more_connections_closed() -> None:
    async with listening(Scripted(), maximum_associations=2) as acceptor:
        async with connected(acceptor) as first, connected(acceptor) as second, connected(acceptor) as third:
            await first.associate()
            await second.associate()
            third.writer.write(encode(request()))
            assert await third.pdu() == AssociateReject(result=2, source=3, reason=2)
            await first.release()
        await until(lambda: acceptor.connections == 0, "they stay")
        silent = [socket.create_connection(("127.0.0.1", acceptor.port)) for _ in range(9)]
        await until(lambda: acceptor.connections == 8, "not eight")
        silent[8].settimeout(2)
        assert await asyncio.to_thread(silent[8].recv, 1) == b""
        for each in silent:
            each.close()


async def test_silence_ends_an_association_but_not_one_that_waits_for_this_side() -> None:
    async def slow(uid: str) -> None:
        await asyncio.sleep(1.0)

    async with listening(Scripted(hold=slow), network_timeout=0.3) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(store(1, b"x"))
        assert (await peer.response())[0].status == 0
        begun = time.monotonic()
        assert await peer.aborted() == Abort(source=2, reason=0)
        assert time.monotonic() - begun < 1


async def test_a_peer_that_reads_nothing_is_given_up() -> None:
    service = Scripted()
    async with listening(service, network_timeout=0.3) as acceptor:
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(peer, ("127.0.0.1", acceptor.port))
            await loop.sock_sendall(peer, encode(request()))
            await loop.sock_recv(peer, 1000)
            await loop.sock_sendall(peer, query(Field.C_FIND, 5))
            await until(lambda: service.cancelled == ["find"], "it is waited for without end")
            await until(lambda: acceptor.connections == 0, "the connection stays")


async def _nothing_fails(service: Scripted, status: int, sent: bytes) -> None:
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(sent)
        assert (await peer.response())[0].status == status
        service.fail.clear()
        peer.writer.write(store(2, bytes(50_000)))
        assert (await peer.response())[0].status == 0, "the association goes on"
        await peer.release()


@pytest.mark.parametrize("where", ["receive", "complete"])
async def test_a_crash_of_storing_is_a_failure_of_the_image_alone(where: str) -> None:
    service = Scripted(fail={where: RuntimeError("crash")})
    await _nothing_fails(service, 0x0110, store(1, bytes(300_000)))


@pytest.mark.parametrize("where", ["receive", "complete"])
async def test_a_refusal_is_the_answer(where: str) -> None:
    service = Scripted(fail={where: Refused(0xA700, "full")})
    await _nothing_fails(service, 0xA700, store(1, bytes(300_000)))


async def test_a_crash_of_a_query_is_a_failure_of_the_query_alone() -> None:
    service = Scripted(fail={"find": RuntimeError("crash")})
    await _nothing_fails(service, 0x0110, query(Field.C_FIND, 5))


async def test_what_can_not_be_answered_ends_the_association() -> None:
    service = Scripted(fail={"complete": Unanswerable("nobody knows")})
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(store(1, b"x"))
        assert await peer.aborted() == Abort(source=0, reason=0)


async def test_what_nobody_does_is_said_to_be_unsupported() -> None:
    service = Scripted()
    async with listening(service) as acceptor, connected(acceptor) as peer:
        await peer.associate()
        peer.writer.write(query(Field.C_FIND, 3) + store(2, bytes(70_000), context_id=5) + store(3, b"x"))
        answers = [(await peer.response())[0] for _ in range(3)]
        assert {each.responds_to: each.status for each in answers} == {1: 0x0122, 2: 0x0122, 3: 0}
        await peer.release()


async def test_at_the_end_running_associations_have_their_grace() -> None:
    service = Scripted(hold=lambda _: asyncio.sleep(0.3))
    async with listening(service, grace=2) as acceptor:
        peers = [connected(acceptor) for _ in range(2)]
        async with peers[0] as working, peers[1] as late:
            await working.associate()
            working.writer.write(store(1, b"x"))

            async def finish() -> None:
                assert (await working.response())[0].status == 0
                late.writer.write(encode(request()))
                assert await late.pdu() == AssociateReject(result=2, source=3, reason=1)
                await working.release()

            finishing = asyncio.create_task(finish())
            await until(lambda: service.completing == 1, "nothing came")
            begun = time.monotonic()
            await acceptor.__aexit__()
            assert 0.2 < time.monotonic() - begun < 1.9
            await finishing
            with pytest.raises(OSError, match=r"Connect call failed|Bad file"):
                await asyncio.open_connection("127.0.0.1", acceptor.port)


async def test_after_the_grace_they_are_aborted() -> None:
    service = Scripted()
    async with (
        listening(service, grace=0.2) as acceptor,
        connected(acceptor) as idle,
        connected(acceptor) as querying,
        connected(acceptor),
    ):
        await idle.associate()
        await querying.associate()
        querying.writer.write(query(Field.C_FIND, 5))
        begun = time.monotonic()
        ending = asyncio.create_task(acceptor.__aexit__())
        assert await idle.aborted() == Abort(source=0, reason=0)
        await querying.aborted()
        await ending
        assert 0.15 < time.monotonic() - begun < 3


async def test_images_come_and_go_over_tls_and_the_certificate_is_evidence(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("server", "client"):
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    ca = tmp_path / "ca.pem"
    server = server_context(
        TlsSettings(certificate=tmp_path / "server.pem", key=tmp_path / "server.key", client_ca=ca)
    )
    client = client_context(ca, certificate=tmp_path / "client.pem", key=tmp_path / "client.key")
    service, data = Scripted(), random.Random(3).randbytes(5 * MIB)
    async with listening(service, tls=server) as acceptor:
        silent = [socket.create_connection(("127.0.0.1", acceptor.port)) for _ in range(3)]
        async with Requester("US", address(acceptor), [(CT, [IMPLICIT])], tls=client) as requester:
            images = [image(f"1.2.{number}", data) for number in range(4)]
            assert await asyncio.gather(*map(requester.store, images)) == [SUCCESS] * 4
        for each in silent:
            each.close()
        with pytest.raises(Unreachable):
            async with Requester("US", address(acceptor), [(CT, [IMPLICIT])], tls=client_context(ca)):
                pass
        with pytest.raises(Unreachable):
            async with Requester("US", address(acceptor), [(CT, [IMPLICIT])], timeout=2):
                pass
    assert set(service.images.values()) == {data}
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "client.pem").read_text())
    assert [each.certificate for each in service.evidence] == [hashlib.sha256(der).hexdigest()]


@pytest.mark.parametrize("size", [0, 1, 16378, 16379, 3 * MIB + 17])
async def test_an_image_that_is_read_in_a_thread_arrives_as_it_is(size: int) -> None:
    service, data = Scripted(), random.Random(4).randbytes(size)
    async with (
        listening(service) as acceptor,
        Requester("US", address(acceptor), [(CT, [IMPLICIT])]) as requester,
    ):
        chunks = [data[start : start + MIB] for start in range(0, size, MIB)]
        assert await requester.store(image("1.2.3", lambda: iter(chunks))) == SUCCESS
        assert await requester.store(image("1.2.4", memoryview(data))) == SUCCESS
    assert service.images == {"1.2.3": data, "1.2.4": data}


async def test_an_image_that_can_not_be_read_to_its_end_does_not_look_whole() -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(MIB)
        raise OSError("gone")

    service = Scripted()
    async with (
        listening(service) as acceptor,
        Requester("US", address(acceptor), [(CT, [IMPLICIT])]) as requester,
    ):
        with pytest.raises(OSError, match="gone"):
            await requester.store(image("1.2.3", broken))
        with pytest.raises(Unreachable):
            await requester.store(image("1.2.4", b"x"))
    assert service.images == {}


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _accept_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(encode(ACCEPT))
    await reader.read()


async def _nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read()


@pytest.mark.parametrize("answer", [_hang_up, _say_nothing, _accept_nothing, _nonsense])
async def test_a_destination_that_is_none_is_unreachable(answer: Answer) -> None:
    tasks = asyncio.all_tasks()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    there = Address(ae_title="X", host="127.0.0.1", port=port)
    begun = time.monotonic()
    with pytest.raises(Unreachable):
        async with Requester("US", there, [(CT, [IMPLICIT])], timeout=0.5):
            pass
    assert time.monotonic() - begun < 2
    server.close()
    await server.wait_closed()
    await until(lambda: asyncio.all_tasks() <= tasks, "tasks are left over")


async def test_nothing_is_done_for_a_peer_under_an_association_of_this_side() -> None:
    async with (
        listening(Scripted()) as acceptor,
        Requester("US", address(acceptor), [(CT, [IMPLICIT])]) as requester,
    ):
        [context_id] = [context.context_id for context in requester._association.contexts.values()]
        asked = Command(field=Field.N_ACTION, requested_class=CT)
        assert await requester.ask(context_id, asked) == Outcome(
            0x0122, "no N-ACTION-RQ under this presentation context"
        )


async def test_whatever_comes_no_exception_gets_out() -> None:
    """Real messages with a few bytes changed, cut and doubled; the fixture sees errors and leaks."""
    chance = random.Random(5)
    whole = encode(request(window=(4, 4))) + store(1, bytes(300), length=50) + query(Field.C_FIND, 5)
    whole += query(Field.C_MOVE, 9) + message(1, ECHO) + encode(ReleaseRequest())
    async with listening(Scripted(), acse_timeout=0.3, network_timeout=0.3) as acceptor:

        async def attack(sent: bytes) -> None:
            async with connected(acceptor) as peer:
                peer.writer.write(sent)
                with_end = chance.random() < 0.5
                if with_end:
                    peer.writer.write_eof()
                await asyncio.wait_for(peer.reader.read(100_000), 5)

        for _ in range(20):
            attacks = []
            for _ in range(20):
                changed = bytearray(whole)
                for _ in range(chance.randrange(4)):
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                if chance.random() < 0.5:
                    start = chance.randrange(len(changed))
                    del changed[start : start + chance.randrange(60)]
                attacks.append(attack(bytes(changed)))
            await asyncio.gather(*attacks, return_exceptions=True)
        await until(lambda: acceptor.connections == 0, "connections stay")
        await echo(acceptor)


async def test_two_gibibytes_need_little_memory() -> None:
    service = Scripted(keep=False)
    piece = random.Random(6).randbytes(MIB)

    process, seen = psutil.Process(), list[int]()

    def content() -> Iterator[bytes]:
        for _ in range(2048):
            seen.append(process.memory_info().rss)
            yield piece

    async with (
        listening(service) as acceptor,
        Requester("US", address(acceptor), [(CT, [IMPLICIT])], timeout=60) as requester,
    ):
        assert await requester.store(image("1.2.3", content)) == SUCCESS
    assert service.images == {"1.2.3": 2048 * MIB}
    grown = max(seen) - seen[0]
    assert grown < 24 * MIB, f"{grown // MIB} MiB for both sides"


async def _last(peer: RawPeer) -> object:
    """What comes after all messages."""
    found: object = ()
    while isinstance(found, tuple):
        found = await peer.pdu()
    return found


def _pdvs(pdus: bytes) -> list[bytes]:
    found, position = [], 0
    while position < len(pdus):
        _, length = struct.unpack_from(">BxI", pdus, position)
        found.append(pdus[position + 6 : position + 6 + length])
        position += 6 + length
    return found
