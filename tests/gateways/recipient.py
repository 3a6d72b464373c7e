"""A storage SCP that answers as a test wants it, by pynetdicom as others use it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.events import Event


@dataclass
class Recipient:
    """What came, and what is answered.

    Attributes:
        port: where it listens.
        status: the answer by SOP Instance UID.
        received: data set and transfer syntax by SOP Instance UID, in the order in which they came.
        originators: AE title and message id of the C-MOVE that each was for.
        reports: event type and information of the reports that came, with the calling AE title.
    """

    port: int = 0
    status: Callable[[str], int] = lambda _: 0x0000
    received: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    originators: list[tuple[str, int]] = field(default_factory=list)
    reports: list[tuple[int, object, str]] = field(default_factory=list)
    report_status: int = 0x0000

    def take(self, event: Event) -> int:
        """C-STORE."""
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        contents = event.dataset_path.read_bytes()
        meta = 132 + 12 + int.from_bytes(contents[140:144], "little")
        self.originators.append(
            (request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID)
        )
        status = self.status(uid)
        if status == 0:
            self.received[uid] = (contents[meta:], str(event.context.transfer_syntax))
        return status

    def report(self, event: Event) -> tuple[int, None]:
        """N-EVENT-REPORT."""
        information = event.event_information
        self.reports.append((event.event_type or 0, information, event.assoc.requestor.ae_title))
        return self.report_status, None


@asynccontextmanager
async def recipient(ae_title: str, contexts: dict[str, list[str]], port: int = 0) -> AsyncIterator[Recipient]:
    """Run a recipient that takes these SOP classes in these transfer syntaxes."""
    taken = Recipient()
    ae = AE(ae_title)
    for uid, syntaxes in contexts.items():
        ae.add_supported_context(uid, syntaxes, scu_role=True, scp_role=True)
    handlers: list[Any] = [(evt.EVT_C_STORE, taken.take), (evt.EVT_N_EVENT_REPORT, taken.report)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    assert server is not None
    taken.port = int(server.server_address[1])
    try:
        yield taken
    finally:
        await asyncio.to_thread(server.shutdown)
