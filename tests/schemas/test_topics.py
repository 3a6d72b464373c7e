"""The topics table: one topic for each event, keys that keep order, settings that keep everything."""

from uuid import UUID

import msgspec
import pytest
from tests.schemas import golden_bytes

from medbus.schemas.events import (
    DeadLettered,
    DeliveryFailed,
    FeeCharged,
    ImageConflicted,
    ImageErased,
    ImageRegistered,
    PeriodClosed,
    RegistrationRequested,
    RequestRejected,
    SubscriberContracted,
)
from medbus.schemas.topics import SETTINGS, SUBSCRIBERS, TARIFFS, TOPIC_OF, TOPICS, Topic, topic_named


def test_settings_of_every_topic_keep_everything_and_date_by_arrival() -> None:
    assert dict(SETTINGS) == {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
    }
    assert all(topic.settings is SETTINGS for topic in TOPICS)


def test_every_event_has_one_topic() -> None:
    events = [event for topic in TOPICS for event in topic.events]
    assert len(events) == len(set(events)) == len(TOPIC_OF)


def test_names_are_kafkas_and_differ() -> None:
    assert [topic.full_name("medbus") for topic in TOPICS] == [
        "medbus.subscribers",
        "medbus.tariffs",
        "medbus.requests",
        "medbus.decisions",
        "medbus.images",
        "medbus.deliveries",
        "medbus.processing",
        "medbus.work",
        "medbus.software",
        "medbus.fees",
        "medbus.dead-letters",
    ]
    assert [topic.namespace for topic in TOPICS][-1] == "medbus.dead_letters"


def test_contracts_are_in_one_order() -> None:
    assert SUBSCRIBERS.partitions == 1


def test_price_lists_are_in_one_order() -> None:
    assert TARIFFS.partitions == 1


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_is_found_by_its_name(topic: Topic) -> None:
    assert topic_named(topic.name) is topic
    assert topic_named(topic.full_name("any-prefix")) is topic
    assert topic_named(topic.full_name("a.prefix.with.dots")) is topic


def test_a_name_that_is_none_is_not_found() -> None:
    with pytest.raises(KeyError):
        topic_named("imges")


def test_keys_keep_together_what_must_stay_in_order() -> None:
    def key(event: object) -> str:
        return TOPIC_OF[type(event)].key(event)  # type: ignore[index]

    registered = golden_bytes.full(ImageRegistered)
    study = registered.study.study_instance_uid
    conflicted = msgspec.structs.replace(golden_bytes.full(ImageConflicted), study_instance_uid=study)
    erased = msgspec.structs.replace(golden_bytes.full(ImageErased), study_instance_uid=study)
    assert key(registered) == key(conflicted) == key(erased) == study

    request = golden_bytes.full(RegistrationRequested)
    another = msgspec.structs.replace(request, meta=head(8))
    rejected = msgspec.structs.replace(golden_bytes.full(RequestRejected), meta=head(7))
    conversation = str(request.meta.correlation_id)
    assert key(request) == key(another) == key(rejected) == conversation
    fee = msgspec.structs.replace(golden_bytes.full(FeeCharged), subscriber="A")
    closed = msgspec.structs.replace(golden_bytes.full(PeriodClosed), subscriber="A")
    assert key(fee) == key(closed) == "A"

    assert key(golden_bytes.full(SubscriberContracted)) == golden_bytes.full(SubscriberContracted).subscriber
    assert key(golden_bytes.full(DeliveryFailed)) == golden_bytes.full(DeliveryFailed).subscriber
    letter = msgspec.structs.replace(golden_bytes.full(DeadLettered), topic="images", partition=3)
    assert key(letter) == "images/3"


def head(number: int) -> object:
    return msgspec.structs.replace(golden_bytes.full(RegistrationRequested).meta, event_id=UUID(int=number))
