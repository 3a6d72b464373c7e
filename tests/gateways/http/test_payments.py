"""POST /payments: signed reports of payments, each an event once."""

import asyncio
import json
import logging
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from tests.gateways.http.web import OLDER_SECRET, SECRET, Answer, Web, web, web_beside

from medbus.compose.kafka import EmbeddedKafka
from medbus.gateways.http.signature import HEADER, sign
from medbus.projections.accounts import AccountReader
from medbus.schemas.events import Money, PaymentReceived
from medbus.schemas.payment import WEBHOOK, payment_id
from medbus.schemas.topics import FEES

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

PAID_AT = "2026-01-07T13:00:00+01:00"


def report(subscriber: str, /, **changes: object) -> bytes:
    """A report; None leaves a field out."""
    fields: dict[str, object] = {
        "reference": f"R-{uuid4()}",
        "subscriber": subscriber,
        "amount": "12.50",
        "currency": "EUR",
        "paid_at": PAID_AT,
        **changes,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


async def payments(site: Web, subscriber: str) -> list[PaymentReceived]:
    """Payments of a subscriber on the log."""
    return [each for each in await site.events(FEES, PaymentReceived) if each.subscriber == subscriber]


def problem(answer: Answer) -> tuple[int, str]:
    """Status and detail of a problem, whose form is checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["status"] == answer.status
    assert answer.body["title"]
    return answer.status, answer.body["detail"]


async def test_a_payment_is_an_event_and_then_in_the_account(site: Web) -> None:
    subscriber, _ = await site.subscriber()
    answer = await site.report(report(subscriber, reference="R-1", note="for March"))
    assert (answer.status, answer.body) == (
        200,
        {"payment_id": str(payment_id(WEBHOOK, "R-1")), "status": "recorded"},
    )
    [event] = await payments(site, subscriber)
    assert event.meta.event_id == payment_id(WEBHOOK, "R-1")
    assert (event.meta.actor, event.meta.source, event.meta.cause_id) == (subscriber, "gateway-http", None)
    assert event.amount == Money(minor_units=1250, currency="EUR")
    assert (event.reference, event.channel, event.note) == ("R-1", WEBHOOK, "for March")
    assert event.paid_at == datetime(2026, 1, 7, 12, tzinfo=UTC)
    await site.settled(FEES)
    balance = await AccountReader(site.database).balance(subscriber, "EUR")
    assert balance.paid == 1250


async def test_a_report_that_comes_again_is_known(site: Web) -> None:
    subscriber, _ = await site.subscriber()
    body = report(subscriber)
    statuses = [(await site.report(body)).body["status"] for _ in range(2)]
    await site.settled(FEES)
    statuses.append((await site.report(body, OLDER_SECRET)).body["status"])
    assert statuses == ["recorded", "known", "known"]
    assert len(await payments(site, subscriber)) == 1


async def test_a_report_that_comes_many_times_at_once_is_one_event(site: Web) -> None:
    subscriber, _ = await site.subscriber()
    body = report(subscriber)
    answers = await asyncio.gather(*(site.report(body) for _ in range(8)))
    assert sorted(each.body["status"] for each in answers) == ["known"] * 7 + ["recorded"]
    assert len(await payments(site, subscriber)) == 1


@pytest.mark.parametrize("shown", [False, True], ids=["unseen", "shown"])
@pytest.mark.parametrize(
    "change",
    [{"amount": "12.51"}, {"currency": "USD"}, {"paid_at": "2026-01-07T12:00:01Z"}, {"note": "other"}],
    ids=str,
)
async def test_a_known_reference_with_other_contents_is_refused(
    site: Web, tmp_path: Path, change: dict[str, str], shown: bool
) -> None:
    subscriber, _ = await site.subscriber()
    reference = str(uuid4())
    await site.report(report(subscriber, reference=reference))
    if shown:
        await site.settled(FEES)
    same = report(subscriber, reference=reference, paid_at="2026-01-07T12:00:00.000000Z", amount="12.5")
    assert (await site.report(same)).body["status"] == "known", "it says the same in other words"
    status, detail = problem(await site.report(report(subscriber, reference=reference, **change)))
    assert (status, detail) == (409, f"The reference '{reference}' was reported with other contents.")
    other, _ = await site.subscriber()
    assert (await site.report(report(other, reference=reference))).status == 409
    assert len(await payments(site, subscriber)) == 1
    assert await payments(site, other) == []


async def test_the_catalog_knows_what_another_process_reported(site: Web) -> None:
    subscriber, _ = await site.subscriber()
    body = report(subscriber)
    await site.report(body)
    await site.settled(FEES)
    async with web_beside(site) as other:
        assert (await other.report(body)).body["status"] == "known"
        changed = json.dumps({**json.loads(body), "amount": "1.00"}).encode()
        assert (await other.report(changed)).status == 409
    assert len(await payments(site, subscriber)) == 1


async def test_a_refund_is_a_negative_payment(site: Web) -> None:
    subscriber, _ = await site.subscriber()
    assert (await site.report(report(subscriber, amount="-3", currency="JPY"))).status == 200
    [event] = await payments(site, subscriber)
    assert event.amount == Money(minor_units=-3, currency="JPY")


async def test_a_cancelled_subscriber_may_still_pay(site: Web) -> None:
    subscriber, _ = await site.subscriber()
    await site.cancel(subscriber)
    assert (await site.report(report(subscriber))).status == 200


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"amount": 12.5}, 422, "Expected `str`, got `float`"),
        ({"amount": 12}, 422, "Expected `str`, got `int`"),
        ({"amount": "12.505"}, 422, "finer than the minor unit"),
        ({"amount": "1e3"}, 422, "is no amount"),
        ({"amount": "NaN"}, 422, "is no amount"),
        ({"amount": ""}, 422, "is no amount"),
        ({"amount": "0.00"}, 422, "The amount is nothing"),
        ({"amount": "9" * 16}, 422, "is no amount"),
        ({"currency": "XXX"}, 422, "is no currency"),
        ({"currency": "eur"}, 422, "is no currency"),
        ({"currency": None}, 422, "missing required field `currency`"),
        ({"paid_at": "2026-01-07T12:00:00"}, 422, "timezone"),
        ({"paid_at": "yesterday"}, 422, "datetime"),
        ({"paid_at": 1767787200}, 422, "Expected `datetime`"),
        ({"paid_at": "0001-01-01T00:00:00+14:00"}, 422, "beyond all measure"),
        ({"reference": ""}, 422, "reference must have 1 to 200 characters"),
        ({"reference": "x" * 201}, 422, "reference must have 1 to 200 characters"),
        ({"reference": "a\0b"}, 422, "reference must have"),
        ({"note": "a\nb"}, 422, "note must have"),
        ({"more": "x"}, 422, "unknown field `more`"),
        ({"subscriber": "nobody"}, 404, "There is no subscriber 'nobody'."),
    ],
    ids=str,
)
async def test_what_can_not_be_is_refused(
    site: Web, change: dict[str, object], status: int, said: str
) -> None:
    subscriber, _ = await site.subscriber()
    answered, detail = problem(await site.report(report(subscriber, **change)))
    assert answered == status
    assert said in detail
    assert await payments(site, subscriber) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"reference":"\\ud800"}', b"[" * 20_000, b'{"reference":"\xff"}']
)
async def test_what_is_no_json_is_refused(site: Web, body: bytes) -> None:
    status, _ = problem(await site.report(body))
    assert status in (400, 422)


async def test_a_body_that_is_too_long_is_refused(site: Web) -> None:
    subscriber, _ = await site.subscriber()
    status, detail = problem(await site.report(report(subscriber, note="x" * 65536)))
    assert (status, detail) == (413, "The body has more than 65536 bytes.")


async def test_a_signature_that_is_wrong_or_of_another_time_is_refused(site: Web) -> None:
    subscriber, _ = await site.subscriber()
    body = report(subscriber)
    right = sign(SECRET, body, datetime.now(UTC))
    answers = [
        await site.call("/payments", content=body),
        await site.call("/payments", content=body + b" ", headers={HEADER: right}),
        await site.report(body, "a secret of nobody's"),
    ]
    site.clock.shift = timedelta(seconds=302)
    answers.append(await site.call("/payments", content=body, headers={HEADER: right}))
    assert [problem(each)[0] for each in answers] == [401] * 4
    assert {each.headers["www-authenticate"] for each in answers} == {HEADER}
    assert await payments(site, subscriber) == []


async def test_only_post_is_there(site: Web) -> None:
    answer = await site.call("/payments")
    assert problem(answer) == (405, "Method Not Allowed")
    assert answer.headers["allow"] == "POST"


async def test_without_a_secret_there_is_no_such_thing(site: Web, caplog: pytest.LogCaptureFixture) -> None:
    async with web_beside(site, payment_secrets=()) as other:
        with caplog.at_level(logging.WARNING):
            assert problem(await other.report(report("A")))[0] == 404
    assert "no secret for it is set" in caplog.text


@pytest.mark.timeout(180)
async def test_without_the_logs_acknowledgement_it_is_to_be_reported_again(tmp_path: Path) -> None:
    async with EmbeddedKafka(tmp_path / "kafka") as broker:
        assert broker.pid is not None
        async with web(broker.bootstrap, tmp_path, publish_timeout=1.0, payment_secrets=(SECRET,)) as site:
            subscriber, _ = await site.subscriber()
            body = report(subscriber, reference="R-1")
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                answer = await site.report(body)
                assert problem(answer) == (503, "The event log does not answer. Report it again.")
                assert int(answer.headers["retry-after"]) > 0
                other = report(subscriber, reference="R-1", amount="99.00")
                assert (await site.report(other)).status == 409, "nobody knows which would be the first"
            finally:
                os.kill(broker.pid, signal.SIGCONT)
            async with asyncio.timeout(60):
                while (answer := await site.report(body)).status == 503:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            assert answer.status == 200
            assert (await site.report(body)).body["status"] == "known"
            found = await payments(site, subscriber)
            assert {each.meta.event_id for each in found} == {payment_id(WEBHOOK, "R-1")}
            await site.settled(FEES)
            assert (await AccountReader(site.database).balance(subscriber, "EUR")).paid == 1250
