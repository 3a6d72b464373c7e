"""Permission to look: asked for on the log, and kept for some seconds of further looks at the same thing."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from medbus.gateways.grants import Clock, Grant, Grants
from medbus.schemas.events import AccountRequested, Evidence, Meta, Request, ResultRequested

KEPT = timedelta(seconds=30)
"""How long a grant serves for further looks; less, where it expires or the contract is cancelled."""

KEPT_GRANTS = 10_000


class _Look(NamedTuple):
    """Who looks at what."""

    evidence: Evidence
    kind: type[Request]
    what: str | UUID | None


class Permissions:
    """Asks whether somebody may look, and keeps the grants for a while.

    Args:
        grants: asks for decisions.
        clock: the time.
        source: names this gateway in events.
    """

    def __init__(self, grants: Grants, *, clock: Clock, source: str) -> None:
        self._grants = grants
        self._clock = clock
        self._source = source
        self._kept: OrderedDict[_Look, tuple[Grant, datetime]] = OrderedDict()

    async def account(self, evidence: Evidence, account: str | None) -> str:
        """The subscriber whose account it is.

        Args:
            evidence: of who asks.
            account: whose; None for the own.

        Raises:
            Rejected, Undecided: it is not granted.
        """
        grant = await self._ask(
            _Look(evidence, AccountRequested, account),
            lambda meta: AccountRequested(meta=meta, evidence=evidence, account=account),
        )
        return grant.subscriber if account is None else account

    async def result(
        self, evidence: Evidence, processing_id: UUID, conversation: UUID | None = None
    ) -> Grant:
        """The grant to look at processing requests; whose this one is, it does not say.

        Args:
            evidence: of who asks.
            processing_id: the processing request.
            conversation: that it belongs to, where it is known.

        Raises:
            Rejected, Undecided: it is not granted.
        """
        return await self._ask(
            _Look(evidence, ResultRequested, processing_id),
            lambda meta: ResultRequested(meta=meta, evidence=evidence, processing_id=processing_id),
            conversation,
        )

    async def _ask(
        self, look: _Look, request: Callable[[Meta], Request], conversation: UUID | None = None
    ) -> Grant:
        grant, until = self._kept.get(look, (None, None))
        now = self._clock()
        if grant is None or until is None or now >= until or grant.ended or grant.expired(now):
            self._kept.pop(look, None)
            meta = Meta.first(uuid4(), source=self._source, occurred_at=now, conversation=conversation)
            grant = await self._grants.request(request(meta))
            self._kept[look] = grant, now + KEPT
            while len(self._kept) > KEPT_GRANTS:
                self._kept.popitem(last=False)
        return grant
