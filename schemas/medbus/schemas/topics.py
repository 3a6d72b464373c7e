"""The topics of the service: name, owner, key and events of each, in one place only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from medbus.schemas.events import (
    AccountRequested,
    ActivationRequested,
    CancellationRequested,
    ContractCancelled,
    ContractChanged,
    CredentialIssued,
    CredentialRevoked,
    DeadLettered,
    DeliveryFailed,
    DeliveryRequested,
    Event,
    FeeCharged,
    ImageConflicted,
    ImageDelivered,
    ImageErased,
    ImageProcessed,
    ImageRegistered,
    InvoiceIssued,
    ItemPlanned,
    ItemProcessed,
    ItemSkipped,
    PaymentReceived,
    PeriodClosed,
    PrintRequested,
    ProcessingCancelled,
    ProcessingCompleted,
    ProcessingFailed,
    ProcessingRequested,
    ProcessingStarted,
    QueryRequested,
    RegistrationRequested,
    RequestAuthorized,
    RequestRejected,
    ResultRequested,
    ResultsAnswered,
    ResultsKept,
    ServerStarted,
    SoftwareReleaseRequested,
    SoftwareRequested,
    SoftwareRun,
    SubscriberActivated,
    SubscriberContracted,
    TariffSet,
    VerificationRequested,
)

MAX_EVENT_BYTES = 256 * 1024
"""An encoded event is at most this long: pixels and long headers are blobs."""

MAX_DEAD_LETTER_BYTES = 900 * 1024
"""A dead letter carries a whole record of another topic; the broker takes up to 1 MiB."""

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
    }
)
"""Every event topic keeps everything for ever and dates records by arrival, never by study date."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Topic:
    """A topic; there is one object for each, so that it may be the key of a mapping.

    Attributes:
        name: its name without the installation's prefix.
        owner: the component that writes it.
        key_name: what its records are keyed by, in words.
        key: the key of an event, so that what must stay in order shares a partition.
        partition: the partition of an event, modulo the number of them; by default the key decides.
        events: the classes of its events.
        partitions: how many partitions it is created with.
        max_bytes: the longest encoded event that it takes.
    """

    name: str
    owner: str
    key_name: str
    key: Callable[[Any], str]
    events: tuple[type[Event], ...]
    partition: Callable[[Any], int] | None = None
    partitions: int = 8
    max_bytes: int = MAX_EVENT_BYTES
    settings: Mapping[str, str] = field(default_factory=lambda: SETTINGS)

    @property
    def namespace(self) -> str:
        """The Avro namespace of its events."""
        return f"medbus.{self.name.replace('-', '_')}"

    def full_name(self, prefix: str) -> str:
        """Its name on the cluster."""
        return f"{prefix}.{self.name}"


# One partition: that no two contracts share an AE title depends on their order.
SUBSCRIBERS = Topic(
    name="subscribers",
    owner="compose",
    key_name="subscriber",
    key=lambda event: event.subscriber,
    events=(
        SubscriberContracted,
        SubscriberActivated,
        ContractChanged,
        ContractCancelled,
        CredentialIssued,
        CredentialRevoked,
    ),
    partitions=1,
)
TARIFFS = Topic(
    name="tariffs",
    owner="compose",
    key_name="tariff",
    key=lambda event: event.tariff,
    events=(TariffSet,),
    partitions=1,
)
# Keyed by conversation, as decisions are: which of its requests was granted first is certain.
REQUESTS = Topic(
    name="requests",
    owner="gateways",
    key_name="conversation",
    key=lambda event: str(event.meta.correlation_id),
    events=(
        VerificationRequested,
        RegistrationRequested,
        QueryRequested,
        DeliveryRequested,
        ProcessingRequested,
        PrintRequested,
        SoftwareReleaseRequested,
        SoftwareRequested,
        ActivationRequested,
        AccountRequested,
        ResultRequested,
        CancellationRequested,
    ),
)
DECISIONS = Topic(
    name="decisions",
    owner="auth",
    key_name="conversation",
    key=lambda event: str(event.meta.correlation_id),
    events=(RequestAuthorized, RequestRejected),
)
IMAGES = Topic(
    name="images",
    owner="gateways",
    key_name="study UID",
    key=lambda event: (
        event.study.study_instance_uid if isinstance(event, ImageRegistered) else event.study_instance_uid
    ),
    events=(ImageRegistered, ImageConflicted, ImageErased),
)
DELIVERIES = Topic(
    name="deliveries",
    owner="gateways",
    key_name="subscriber",
    key=lambda event: event.subscriber,
    events=(ImageDelivered, DeliveryFailed, ResultsAnswered),
)
PROCESSING = Topic(
    name="processing",
    owner="processing; cancellations and what is kept: gateways",
    key_name="request; server",
    key=lambda event: event.server if isinstance(event, ServerStarted) else str(event.grant_id),
    events=(
        ProcessingStarted,
        ImageProcessed,
        ItemProcessed,
        ProcessingFailed,
        ItemSkipped,
        ProcessingCancelled,
        ProcessingCompleted,
        ResultsKept,
        ServerStarted,
    ),
)
WORK = Topic(
    name="work",
    owner="processing",
    key_name="work item",
    key=lambda event: str(event.meta.event_id),
    partition=lambda event: event.slot,
    events=(ItemPlanned,),
    # More than there are servers, so that each has its share.
    partitions=32,
    # A stack of images is one item, and names them all.
    max_bytes=MAX_DEAD_LETTER_BYTES,
)
SOFTWARE = Topic(
    name="software",
    owner="software",
    key_name="software id",
    key=lambda event: event.software_id,
    events=(SoftwareRun,),
)
FEES = Topic(
    name="fees",
    owner="billing; payments: compose and gateways",
    key_name="subscriber",
    key=lambda event: event.subscriber,
    events=(FeeCharged, PeriodClosed, InvoiceIssued, PaymentReceived),
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    owner="every processor",
    key_name="source",
    key=lambda event: f"{event.topic}/{event.partition}",
    events=(DeadLettered,),
    partitions=1,
    max_bytes=MAX_DEAD_LETTER_BYTES,
)

TOPICS: tuple[Topic, ...] = (
    SUBSCRIBERS,
    TARIFFS,
    REQUESTS,
    DECISIONS,
    IMAGES,
    DELIVERIES,
    PROCESSING,
    WORK,
    SOFTWARE,
    FEES,
    DEAD_LETTERS,
)

TOPIC_OF: Mapping[type[Event], Topic] = MappingProxyType(
    {event: topic for topic in TOPICS for event in topic.events}
)
"""The topic of each event class."""


def topic_named(name: str) -> Topic:
    """The topic of this name, with or without a prefix.

    Raises:
        KeyError: there is none.
    """
    return {topic.name: topic for topic in TOPICS}[name.rpartition(".")[2]]
