"""DIMSE messages over an association of either role: responses find who waits for them."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, Self

import msgspec

from medbus.gateways.dicom import command as commands
from medbus.gateways.dicom.command import Command, MalformedCommand
from medbus.gateways.dicom.dimse import fragment_length, next_message_id, outcome_of, store_request
from medbus.gateways.dicom.limits import LONGEST_COMMAND, LONGEST_IDENTIFIER
from medbus.gateways.dicom.network import MAXIMUM_PDU
from medbus.gateways.dicom.network.connection import Buffer
from medbus.gateways.dicom.network.messages import command_pdus, data_pdus
from medbus.gateways.dicom.network.provider import SERVICE_PROVIDER, Ended, Provider
from medbus.gateways.dicom.outgoing import Outgoing, Unreachable
from medbus.gateways.dicom.status import Outcome
from medbus.gateways.dicom.upper.pdu import ReleaseRequest, ReleaseResponse
from medbus.gateways.dicom.upper.states import Event
from medbus.gateways.dicom.upper.stream import Fragment

log = logging.getLogger(__name__)

_SENT_AT_ONCE: Final = 512
"""Buffers for which one call to the connection is made."""


class CutShort(Ended):
    """The peer released the association in the middle of a data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """An accepted presentation context.

    Attributes:
        scu: whether this side may be the SCU under it.
        scp: whether it may be the SCP.
    """

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    scu: bool
    scp: bool


class DataSet:
    """The data set of a message as it comes: fragments, each valid until the next is asked for.

    Args:
        provider: where it comes from.
        context_id: of the message.
        follows: whether there is one at all.
    """

    def __init__(self, provider: Provider, context_id: int, *, follows: bool) -> None:
        self._provider = provider
        self._context_id = context_id
        self.complete = not follows

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        """The next fragment.

        Raises:
            Ended: the peer left before the last one.
            MalformedCommand: something else came.
        """
        if self.complete:
            raise StopAsyncIteration
        item = await self._provider.next()
        if type(item) is not Fragment:
            self._provider.hold(item)
            raise CutShort("asked for release in the middle of a data set")
        if item.command or item.context_id != self._context_id:
            raise MalformedCommand("A message began in the middle of another one.")
        self.complete = item.last
        return item.data

    async def read(self) -> bytes:
        """All of it, where it is short. Errors as `__anext__`."""
        found = bytearray()
        async for fragment in self:
            found += fragment
            if len(found) > LONGEST_IDENTIFIER:
                raise MalformedCommand("The data set is too long.")
        return bytes(found)

    async def drain(self) -> None:
        """Let the rest come and be forgotten. Errors as `__anext__`."""
        async for _ in self:
            pass


@dataclass(frozen=True, slots=True)
class Message:
    """A message that has come; its data set may still be coming."""

    context: Context
    command: Command
    data: DataSet


@dataclass(frozen=True, slots=True)
class Response:
    """A response that has come whole."""

    command: Command
    data: bytes


Serve = Callable[[Message], Awaitable[None]]
"""Takes a request: reads its data set, of which the rest is passed over, and leaves the work to a task."""


class Association:
    """An association that stands.

    Args:
        provider: the upper layer.
        contexts: the accepted presentation contexts.
        maximum: the longest P-DATA-TF that the peer takes, in bytes; 0: any.
        window: operations that may be under way at once on the peer's side.
        executor: threads to read large images in.
    """

    def __init__(
        self,
        provider: Provider,
        contexts: Iterable[Context],
        *,
        maximum: int,
        window: int,
        executor: Executor | None,
    ) -> None:
        self.contexts = {context.context_id: context for context in contexts}
        self._accepted: dict[str, dict[str, Context]] = {}
        for context in self.contexts.values():
            if context.scu:
                syntaxes = self._accepted.setdefault(context.abstract_syntax, {})
                syntaxes.setdefault(context.transfer_syntax, context)
        self.leaving = False
        """Whether the peer has asked for release."""
        self._provider = provider
        self._length = fragment_length(maximum, MAXIMUM_PDU)
        self._window = asyncio.Semaphore(window)
        self._executor = executor
        self._sending = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._message_id = 0
        provider.on_over = self._drop_waiting

    @property
    def alive(self) -> bool:
        """Whether the peer is there and has not asked for release."""
        return not self.leaving and not self._provider.over

    def accepted(self, sop_class_uid: str) -> dict[str, Context]:
        """By transfer syntax, the contexts under which this side may use a SOP class of the peer's."""
        return self._accepted.get(sop_class_uid, {})

    async def run(self, serve: Serve, release: Callable[[], Awaitable[None]]) -> None:
        """Take what comes, until the association is over.

        Args:
            serve: called with each request.
            release: called before a release is agreed to.

        Raises:
            Ended: always, in the end.
            MalformedCommand: the peer sent what is no message; the association was aborted.
        """
        try:
            await self._run(serve, release)
        except MalformedCommand:
            self._provider.abort(SERVICE_PROVIDER)
            raise

    def abort(self, source: int = 0) -> None:
        """End it now."""
        self._provider.abort(source)

    async def send(self, context_id: int, command: Command, data: Buffer | None = None) -> None:
        """Send a message with a data set that is in memory, or none.

        Raises:
            Ended: it can't be sent.
        """
        buffers = command_pdus(context_id, command, self._length)
        if data is None:
            async with self._sending:
                await self._provider.send(buffers)
        else:
            async with self._sending:
                await self._send_pieces(itertools.chain(buffers, data_pdus(context_id, data, self._length)))

    async def ask(
        self,
        context_id: int,
        command: Command,
        data: Buffer | None,
        timeout: float,  # noqa: ASYNC109
    ) -> Response:
        """Send a request, which gets its message id here, and wait for the response.

        Raises:
            Unreachable: the peer is gone, or does not respond.
        """
        async with self._window:
            message_id = self.next_message_id()
            request = msgspec.structs.replace(command, message_id=message_id)
            return await self._await(message_id, self.send(context_id, request, data), timeout)

    async def store(self, image: Outgoing, timeout: float) -> Outcome:  # noqa: ASYNC109
        """Send a C-STORE and wait for the response.

        Args:
            image: one for which there is a context.
            timeout: seconds for the response.

        Raises:
            Unreachable: the peer is gone, or does not respond.
        """
        context = self.accepted(image.sop_class_uid)[image.transfer_syntax_uid]
        async with self._window:
            message_id = self.next_message_id()
            request = store_request(image, message_id)
            content = image.content
            if callable(content):
                sending = self._send_stream(context.context_id, request, content())
            else:
                sending = self.send(context.context_id, request, content)
            response = await self._await(message_id, sending, timeout)
        return outcome_of(response.command)

    def next_message_id(self) -> int:
        """A message id that no request of this side has now."""
        while True:
            self._message_id = next_message_id(self._message_id)
            if self._message_id not in self._waiting:
                return self._message_id

    async def _await(self, message_id: int, sending: Awaitable[None], timeout: float) -> Response:  # noqa: ASYNC109
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = future
        try:
            if not self.alive:
                raise Unreachable("ended the association")
            await sending
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise Unreachable(f"did not respond within {timeout:g} s") from None
        except Ended as error:
            raise Unreachable(str(error)) from error
        finally:
            del self._waiting[message_id]
            if not future.cancel() and not future.cancelled():
                future.exception()  # seen, although the request itself may have failed first
            if asyncio.iscoroutine(sending):
                sending.close()

    async def _send_pieces(self, buffers: Iterator[Buffer]) -> None:
        """Send a message piece by piece; one that can't be finished ends the association."""
        try:
            while pieces := list(itertools.islice(buffers, _SENT_AT_ONCE)):
                await self._provider.send(pieces)
        except Ended:
            raise
        except BaseException:
            self._provider.abort()
            raise

    async def _send_stream(self, context_id: int, command: Command, chunks: Iterator[bytes]) -> None:
        """Send a message with a data set that is read in a thread meanwhile."""
        loop = asyncio.get_running_loop()
        length = self._length
        async with self._sending:
            try:
                await self._provider.send(command_pdus(context_id, command, length))
                chunk = await loop.run_in_executor(self._executor, next, chunks, None) or b""
                while True:
                    following = loop.run_in_executor(self._executor, next, chunks, None)
                    # Only what comes after the chunk tells whether its end is that of the data set.
                    whole = max(len(chunk) - 1, 0) // length * length
                    view = memoryview(chunk)
                    if whole:
                        await self._send_pieces(data_pdus(context_id, view[:whole], length, last=False))
                    chunk = await following or b""
                    last = not chunk
                    await self._provider.send([*data_pdus(context_id, view[whole:], length, last=last)])
                    if last:
                        return
            except Ended:
                raise
            except BaseException:
                self._provider.abort()  # a data set that ends half-way must not look whole
                raise

    async def _run(self, serve: Serve, release: Callable[[], Awaitable[None]]) -> None:
        begun = bytearray()
        while True:
            item = await self._provider.next()
            if type(item) is Fragment:
                if not item.command:
                    raise MalformedCommand("A data set came without a command set.")
                begun += item.data
                if len(begun) > LONGEST_COMMAND:
                    raise MalformedCommand("The command set is too long.")
                if item.last:
                    command = commands.decode(begun)
                    begun = bytearray()
                    try:
                        await self._take(item.context_id, command, serve)
                    except CutShort as error:
                        log.info("%s: the peer %s", command.name, error)
            elif isinstance(item, ReleaseRequest):
                self.leaving = True
                self._drop_waiting()
                await release()
                await self._provider.say(Event.EVT14, ReleaseResponse())
            elif isinstance(item, ReleaseResponse):
                log.debug("release confirmed")

    async def _take(self, context_id: int, command: Command, serve: Serve) -> None:
        context = self.contexts.get(context_id)
        if context is None:
            raise MalformedCommand("A presentation context was used that was not accepted.")
        data = DataSet(self._provider, context_id, follows=command.has_data)
        if not command.response:
            await serve(Message(context, command, data))
            if not data.complete:
                await data.drain()
            return
        response = Response(command, b"" if data.complete else await data.read())
        waiting = self._waiting.get(command.responds_to or 0)
        if waiting is None:
            log.debug("%s that nobody waits for", command.name)
        elif not waiting.done():
            waiting.set_result(response)

    def _drop_waiting(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unreachable("ended the association"))
