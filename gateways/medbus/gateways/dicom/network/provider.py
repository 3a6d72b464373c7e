"""The upper layer service provider: executes the actions of the state machine (PS3.8 9.2) on a connection."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from medbus.gateways.dicom.network.connection import Buffer, Connection
from medbus.gateways.dicom.upper.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    MalformedPdu,
    Pdu,
    ReleaseRequest,
    ReleaseResponse,
    encode,
)
from medbus.gateways.dicom.upper.states import STARTS_ARTIM, STOPS_ARTIM, TABLE, Action, Event, Machine, State
from medbus.gateways.dicom.upper.stream import Fragment, Inbound

log = logging.getLogger(__name__)

Indication = (
    AssociateRequest | AssociateAccept | AssociateReject | ReleaseRequest | ReleaseResponse | Fragment
)

SERVICE_USER, SERVICE_PROVIDER = 0, 2
"""Sources of an A-ABORT (PS3.8 Table 9-26)."""

PROTOCOL_VERSION_NOT_SUPPORTED: Final = AssociateReject(result=1, source=2, reason=2)

_EVENTS: Final[dict[type, Event]] = {
    AssociateAccept: Event.EVT3,
    AssociateReject: Event.EVT4,
    AssociateRequest: Event.EVT6,
    Fragment: Event.EVT10,
    ReleaseRequest: Event.EVT12,
    ReleaseResponse: Event.EVT13,
    Abort: Event.EVT16,
}

_TRANSFER: Final = (State.STA6, State.STA8)
"""States in which this side may send P-DATA-TF (DT-1, AR-7)."""


class Ended(Exception):
    """There is no association any more; the text says how it ended, after the peer's name."""


class Provider:
    """One association as the upper layer sees it, of either role.

    One task calls `next`; all tasks of the association may send.

    Args:
        connection: it is closed in the end.
        requestor: whether this side asks for the association.
        artim: seconds of the ARTIM timer.
        silence: seconds after which a peer that says nothing, or takes nothing, is given up.
    """

    def __init__(self, connection: Connection, *, requestor: bool, artim: float, silence: float) -> None:
        self._connection = connection
        self._machine = Machine(requestor=requestor)
        self._inbound = Inbound()
        self._items: Iterator[Pdu | Fragment] = iter(())
        self._held: Indication | None = None
        self._ahead: asyncio.Task[Indication] | None = None
        self._seconds = artim
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._artim: float | None = None
        self._deaf = False
        self._how = ""
        self.over = False
        """Whether nothing can be said or heard any more."""
        self.busy: Callable[[], bool] = lambda: False
        """Whether silence of the peer is in order now."""
        self.on_over: Callable[[], None] = lambda: None
        """Called once, when the association ends."""
        self._act(Event.EVT1 if requestor else Event.EVT5)  # AE-1 is done already; AE-5

    @property
    def state(self) -> State:
        """Where the association stands."""
        return self._machine.state

    @property
    def released(self) -> bool:
        """Whether it ended as it should."""
        return self._how == "released the association"

    async def next(self) -> Indication:
        """What the peer says next.

        The data of a fragment are valid until this is called again.

        Raises:
            Ended: nothing more will come; the connection is closed.
        """
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return await ahead
        if self._held is not None:
            held, self._held = self._held, None
            return held
        return await self._next()

    async def _next(self) -> Indication:
        while True:
            try:
                for item in self._items:
                    if type(item) is Fragment and self._machine.state is State.STA6:
                        return item  # DT-2, without a look at the table
                    indication = self._hear(item)
                    if indication is not None:
                        return indication
            except MalformedPdu as error:
                log.info("invalid PDU: %s", error)
                self._items = iter(())
                self._deaf = True
                self._on(Event.EVT19, reason=error.reason)
            await self._receive()

    async def linger(self) -> None:
        """After the end, wait until the peer has closed the connection too; as long as ARTIM runs at most."""
        with contextlib.suppress(Ended):
            while True:
                await self.next()

    def hold(self, indication: Indication) -> None:
        """Give an indication back; it is the next again."""
        self._held = indication

    def read_ahead(self) -> "asyncio.Task[Indication]":
        """What comes next, as a task; `next` goes on with it."""
        self._ahead = asyncio.create_task(self._next())
        self._ahead.add_done_callback(_seen)
        return self._ahead

    async def send(self, buffers: Sequence[Buffer]) -> None:
        """Send P-DATA-TF PDUs; whole ones, in as many buffers as may be.

        Raises:
            Ended: they can't be sent.
        """
        if self.over or self._machine.state not in _TRANSFER:
            raise Ended(self._how or "ended the association")
        await self._send(buffers)

    async def say(
        self,
        event: Event,
        pdu: AssociateRequest | AssociateAccept | AssociateReject | ReleaseRequest | ReleaseResponse,
    ) -> None:
        """Send a PDU of association control, as the answer to a service primitive.

        Args:
            event: the primitive: Evt2, Evt7, Evt8, Evt11 or Evt14.
            pdu: what it becomes.

        Raises:
            Ended: the peer is gone.
        """
        if self.over:
            raise Ended(self._how)
        self._act(event)
        await self._send([encode(pdu)])

    def abort(self, source: int = SERVICE_USER, reason: int = 0) -> None:
        """End the association now; `next` ends once the peer has closed the connection, or after ARTIM."""
        if self.over:
            return
        if (Event.EVT15, self.state) not in TABLE or self.state is State.STA4:
            self.close()  # there is no association that could be aborted
            return
        self._act(Event.EVT15)
        self._end("was cut off")
        if not self._connection.send_now(encode(Abort(source=source, reason=reason))):
            self._connection.close()

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        self._end("was cut off")
        self._connection.close()

    def start_artim(self, seconds: float | None = None) -> None:
        """Give the peer so much time."""
        self._artim = self._loop.time() + (self._seconds if seconds is None else seconds)
        self._connection.nudge()

    def stop_artim(self) -> None:
        """Give it all the time it wants."""
        self._artim = None

    def _hear(self, item: Pdu | Fragment) -> Indication | None:
        acceptable = not isinstance(item, AssociateRequest) or bool(item.protocol_version & 1)
        action = self._act(_EVENTS[type(item)], acceptable=acceptable)
        match action:
            case Action.AE_6 if not acceptable:
                self._end("speaks another version of the protocol")
                self.start_artim()
                self._connection.send_now(encode(PROTOCOL_VERSION_NOT_SUPPORTED))
            case Action.AA_2:
                self._hang_up("aborted before there was an association")
            case Action.AA_3:
                self._hang_up("aborted the association")
            case Action.AA_1:
                self._abort(SERVICE_USER, 0)
            case Action.AA_7:
                self._abort(SERVICE_PROVIDER, 2)
            case Action.AA_8:
                log.info("%s came in %s", type(item).__name__, self.state.name)
                self._abort(SERVICE_PROVIDER, 2)  # unexpected PDU
            case Action.AA_6:
                pass
            case Action.AE_4 | Action.AR_3:
                self._connection.close()
                self._end("released the association" if action is Action.AR_3 else "rejected it")
                return _indication(item)
            case _:
                return _indication(item)
        return None

    def _on(self, event: Event, *, reason: int = 0) -> None:
        """An event that is no PDU."""
        match self._act(event):
            case Action.AA_1:
                self._abort(SERVICE_USER, 0)
            case Action.AA_7 | Action.AA_8:
                self._abort(SERVICE_PROVIDER, reason)
            case Action.AA_2:
                self._hang_up("did not go on")
            case Action.AR_5:
                self._hang_up("closed the connection")
            case _:
                self._hang_up("ended the association")

    def _act(self, event: Event, *, acceptable: bool = True) -> Action:
        action = self._machine.on(event, acceptable=acceptable)
        if action in STARTS_ARTIM:
            self.start_artim()
        elif action in STOPS_ARTIM:
            self.stop_artim()
        return action

    def _abort(self, source: int, reason: int) -> None:
        """Send an A-ABORT; the peer has to close the connection then."""
        self._end("was cut off")
        if not self._connection.send_now(encode(Abort(source=source, reason=reason))):
            self._hang_up("was cut off")

    def _end(self, how: str) -> None:
        if not self.over:
            self._how = how
            self.over = True
            self.on_over()

    def _hang_up(self, how: str) -> None:
        self._end(how)
        self._connection.close()
        raise Ended(self._how)

    async def _send(self, buffers: Sequence[Buffer]) -> None:
        try:
            await self._connection.send(buffers, self._silence)
        except OSError as error:
            self._end(f"took nothing for {self._silence:g} s" if isinstance(error, TimeoutError) else "left")
            raise Ended(self._how) from error

    async def _receive(self) -> None:
        if self._connection.closed:
            self._hang_up("left")
        now = self._loop.time()
        left = self._silence if self._artim is None else self._artim - now
        try:
            if left <= 0:
                raise TimeoutError  # noqa: TRY301
            count = await self._connection.receive_into(self._inbound.buffer(), left)
        except TimeoutError:
            self._look_at_the_clock(now)
            return
        except OSError as error:
            log.debug("the connection broke: %s", error)
            count = 0
        if not count:
            self._on(Event.EVT17)
        elif not self._deaf:
            self._items = self._inbound.received(count)

    def _look_at_the_clock(self, since: float) -> None:
        now = self._loop.time()
        if self._artim is not None:
            if now < self._artim:
                return
            if (Event.EVT18, self.state) in TABLE:
                self._on(Event.EVT18)
            self._hang_up("does not answer")
        elif now - since >= self._silence and not self.busy():
            log.info("a peer was silent for %g s", self._silence)
            self.abort(SERVICE_PROVIDER)


def _indication(item: Pdu | Fragment) -> Indication:
    if isinstance(item, Abort):  # which the table does not let happen
        raise TypeError("an A-ABORT ends the association")
    return item


def _seen(task: "asyncio.Task[Indication]") -> None:
    """Whoever goes on with it gets the error; where nobody does, it is of no interest."""
    if not task.cancelled():
        task.exception()
