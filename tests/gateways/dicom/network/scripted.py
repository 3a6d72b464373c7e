"""The acceptor with handlers that do what a test says, and a peer that sends whatever bytes it likes."""

import asyncio
import gc
import os
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from medbus.gateways.dicom import command as commands
from medbus.gateways.dicom.command import Command, Field
from medbus.gateways.dicom.network.acceptor import Acceptor
from medbus.gateways.dicom.network.messages import command_pdus, data_pdus
from medbus.gateways.dicom.outgoing import Counts, Outgoing, Retrieved
from medbus.gateways.dicom.presentation import (
    QUERY_RETRIEVE,
    VERIFICATION,
    Operation,
    Root,
    Service,
    negotiate,
)
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome
from medbus.gateways.dicom.storing import StoreRequest
from medbus.gateways.dicom.upper.pdu import (
    Abort,
    AssociateAccept,
    AssociateRequest,
    Pdu,
    ProposedContext,
    ReleaseRequest,
    ReleaseResponse,
    RoleSelection,
    UserInformation,
    decode,
    encode,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
FIND, GET, MOVE = (
    next(uid for uid, kind in QUERY_RETRIEVE.items() if kind == (Root.STUDY, operation))
    for operation in (Operation.FIND, Operation.GET, Operation.MOVE)
)
CONTEXTS = {1: VERIFICATION, 3: CT, 5: FIND, 7: GET, 9: MOVE}
PATIENCE = 10.0


class Conversation:
    """An association to the handlers."""

    def __init__(self, evidence: Any) -> None:
        self.evidence = evidence
        self.peer = evidence.calling_ae_title
        self.granted = frozenset(Service)
        self.answers: Sequence[Any] = ()


@dataclass
class Scripted:
    """The service, its handlers, and what happened.

    Attributes:
        images: data sets by SOP Instance UID.
        completing: how many images are being made durable now; most: at once so far.
        hold: awaited by `complete` with the SOP Instance UID.
        fail: raised by `receive` ("receive"), `complete` ("complete") or a query ("find").
        opening: awaited before a conversation is opened.
        evidence: what peers showed.
    """

    images: dict[str, bytes | int] = field(default_factory=dict)
    keep: bool = True
    completing: int = 0
    most: int = 0
    matches: int = 0
    cancelled: list[str] = field(default_factory=list)
    hold: Callable[[str], Any] | None = None
    opening: Callable[[], Any] | None = None
    fail: dict[str, BaseException] = field(default_factory=dict)
    evidence: list[Any] = field(default_factory=list)

    @property
    def storing(self) -> "Scripted":
        return self

    finding = retrieving = storing

    async def open(self, evidence: Any, proposals: Sequence[Any]) -> Conversation:
        self.evidence.append(evidence)
        if self.opening is not None:
            await self.opening()
        conversation = Conversation(evidence)
        conversation.answers = negotiate(proposals, conversation.granted)
        return conversation

    async def receive(self, conversation: Conversation, request: StoreRequest, chunks: Any) -> str:
        if "receive" in self.fail:
            raise self.fail["receive"]
        data, size = bytearray(), 0
        async for chunk in chunks:
            size += len(chunk)
            if self.keep:
                data += chunk
        self.images[request.sop_instance_uid] = bytes(data) if self.keep else size
        return request.sop_instance_uid

    async def complete(self, uid: str) -> None:
        if "complete" in self.fail:
            raise self.fail["complete"]
        self.completing += 1
        self.most = max(self.most, self.completing)
        try:
            if self.hold is not None:
                await self.hold(uid)
        finally:
            self.completing -= 1

    def refused(self, conversation: Conversation, request: StoreRequest, error: Any) -> Outcome:
        outcome: Outcome = error.outcome
        return outcome

    async def find(self, conversation: Conversation, keys: Any, answers: Any) -> Outcome:
        """Matches without end."""
        if "find" in self.fail:
            raise self.fail["find"]
        while not answers.cancelled():
            await answers.match(keys.data, all_keys=True)
            self.matches += 1
        self.cancelled.append("find")
        return Outcome(Code.CANCEL)

    async def get(self, conversation: Conversation, keys: Any, requester: Any, outlet: Any) -> Retrieved:
        """Images without end."""
        sent = 0
        while not requester.cancelled():
            outcome = await outlet.store(image(f"1.2.{sent}", bytes(1000)))
            sent += outcome == SUCCESS
            await requester.pending(Counts(remaining=7, completed=sent))
        self.cancelled.append("get")
        return Retrieved(Outcome(Code.CANCEL), Counts(remaining=7, completed=sent))

    async def move(
        self, conversation: Conversation, keys: Any, requester: Any, *, destination: str, message_id: int
    ) -> Retrieved:
        """Nothing without end."""
        while not requester.cancelled():  # noqa: ASYNC110 - nobody tells when it changes
            await asyncio.sleep(0.005)
        self.cancelled.append(f"move to {destination}")
        return Retrieved(Outcome(Code.CANCEL), Counts(remaining=1))


def image(uid: str, content: Any) -> Outgoing:
    """An image to send."""
    return Outgoing(
        sop_class_uid=CT, sop_instance_uid=uid, transfer_syntax_uid=IMPLICIT, size=0, content=content
    )


@asynccontextmanager
async def listening(service: Scripted, **options: Any) -> AsyncIterator[Acceptor]:
    """An acceptor; afterwards no task, no socket and no error is left over."""
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    tasks, descriptors = asyncio.all_tasks(), len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(2) as executor:
        options = {"acse_timeout": 1.0, "grace": 0.2, "dimse_timeout": 3.0, **options}
        async with Acceptor(
            service,  # type: ignore[arg-type]
            executor,
            host="127.0.0.1",
            port=0,
            ae_title="MEDBUS",
            **options,
        ) as acceptor:
            yield acceptor
            assert acceptor.connections >= acceptor.associations >= 0
        assert acceptor.connections == acceptor.associations == 0
    gc.collect()  # an exception that nobody has seen is told when its task goes
    for _ in range(100):
        if asyncio.all_tasks() <= tasks and len(os.listdir("/proc/self/fd")) <= descriptors:
            break
        await asyncio.sleep(0.02)
    loop.set_exception_handler(None)
    assert not errors, str(errors)
    assert asyncio.all_tasks() - tasks == set(), "tasks are left over"
    assert len(os.listdir("/proc/self/fd")) <= descriptors, "sockets are left over"


def request(
    called: str = "MEDBUS",
    *,
    window: tuple[int, int] | None = None,
    maximum: int = 16384,
    contexts: dict[int, str] = CONTEXTS,
    receiving: bool = False,
) -> AssociateRequest:
    """An A-ASSOCIATE-RQ."""
    return AssociateRequest(
        called_ae_title=called,
        calling_ae_title="RAW",
        contexts=tuple(
            ProposedContext(context_id=number, abstract_syntax=uid, transfer_syntaxes=(IMPLICIT,))
            for number, uid in contexts.items()
        ),
        user=UserInformation(
            maximum_length=maximum,
            implementation_class_uid="1.2.3",
            window=window,
            roles=(RoleSelection(sop_class_uid=CT, scu=True, scp=True),) if receiving else (),
        ),
    )


def message(context_id: int, command: Command, data: bytes | None = None, length: int = 16000) -> bytes:
    """A message as bytes."""
    found = b"".join(command_pdus(context_id, command, length))
    return found if data is None else found + b"".join(data_pdus(context_id, data, length))


def store(number: int, data: bytes, context_id: int = 3, length: int = 16000) -> bytes:
    """A C-STORE request as bytes; the image is 1.2.NUMBER."""
    command = Command(
        field=Field.C_STORE,
        has_data=True,
        message_id=number,
        priority=0,
        affected_class=CT,
        affected_instance=f"1.2.{number}",
    )
    return message(context_id, command, data, length)


def query(field_: Field, context_id: int, number: int = 1, **more: Any) -> bytes:
    """A C-FIND, C-GET or C-MOVE request as bytes."""
    command = Command(
        field=field_,
        has_data=True,
        message_id=number,
        priority=0,
        affected_class=CONTEXTS[context_id],
        **more,
    )
    return message(context_id, command, b"keys")


class RawPeer:
    """A connection on which anything can be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def associate(self, asked: AssociateRequest | None = None) -> AssociateAccept:
        """Ask for an association, which must be accepted."""
        self.writer.write(encode(asked or request()))
        answer = await self.pdu()
        assert isinstance(answer, AssociateAccept)
        return answer

    async def pdu(self) -> "Pdu | tuple[int, int, bytes] | None":
        """The next PDU; context id, control and fragment of a P-DATA-TF; None at the end."""
        try:
            async with asyncio.timeout(PATIENCE):
                kind, length = struct.unpack(">BxI", await self.reader.readexactly(6))
                body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        if kind == 4:
            return body[4], body[5], body[6:]
        return decode(kind, body)

    async def response(self) -> tuple[Command, bytes]:
        """The next message with its data set."""
        found = await self.pdu()
        assert isinstance(found, tuple), f"{found} instead of a message"
        command, data = commands.decode(found[2]), b""
        assert found[1] == 3, "a short command set comes in one fragment"
        last = not command.has_data
        while not last:
            found = await self.pdu()
            assert isinstance(found, tuple)
            data += found[2]
            last = bool(found[1] & 2)
        return command, data

    async def release(self) -> None:
        """Release, which must be agreed to."""
        self.writer.write(encode(ReleaseRequest()))
        assert await self.pdu() == ReleaseResponse()

    async def aborted(self) -> Abort:
        """The A-ABORT that comes, after whatever else, and the end."""
        found = await self.pdu()
        while isinstance(found, tuple):
            found = await self.pdu()
        assert isinstance(found, Abort), f"{found} instead of an A-ABORT"
        self.writer.close()
        return found


@asynccontextmanager
async def connected(acceptor: Acceptor, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawPeer]:
    """A connection to it."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", acceptor.port, ssl=tls, server_hostname=None if tls is None else "127.0.0.1"
    )
    try:
        yield RawPeer(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
