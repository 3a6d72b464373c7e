"""The commands about money against a whole service: real broker, real processes, real images.

Most commands run in this process, through the same entry point as a user's: starting Python takes longer than
what they do.
"""

import asyncio
import csv
import hmac
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trustme
from tests import synthetic
from tests.compose.commands import command
from tests.running_service import RunningService, medbus

from medbus.bus import Bus
from medbus.compose.cli.options import bootstrap
from medbus.schemas.events import FeeCharged, FeeKind, Meta, Money, Origin

pytestmark = [pytest.mark.timeout(300)]

PRICES = (
    *("--price", "subscription=100", "--price", "delivery=0.05", "--price", "connection=0.01"),
    *("--price", "registration_in_use=0.002/GB", "--price", "management_prorated=30"),
)
IMAGES = 25


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(
        tmp_path_factory.mktemp("money") / "home",
        MEDBUS_BILLING_PERIOD="off",
        MEDBUS_DICOM_WORKERS="1",
    )
    try:
        running.start()
        yield running
        assert running.stop() == 0
    finally:
        running.close()


def run(service: RunningService, *arguments: str) -> str:
    done = command(service.home, *arguments)
    assert done.code == 0, done.out + done.err
    return done.out


def shown(service: RunningService, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(service, *arguments, "--json").splitlines()]


def refused(service: RunningService, *arguments: str) -> str:
    done = command(service.home, *arguments)
    assert done.code == 1, done.out + done.err
    return " ".join(done.err.split())


def contract(service: RunningService, subscriber: str, *more: str) -> None:
    title = subscriber.replace("-", "_").upper()
    run(
        service,
        *("subscriber", "add", subscriber, "--role", "image_registering", "--role", "image_receiving"),
        *("--apparatus", f"{title}#1={title}/CT", *more),
    )


def test_tariffs_have_versions_that_are_shown(service: RunningService, tmp_path: Path) -> None:
    file = tmp_path / "tariff.toml"
    file.write_text(
        'currency = "JPY"\nfrom = 2099-01-01\n[prices]\ndelivery = "5"\nprocessing_second = "6/min"\n'
        '"processing_image:denoise" = "2"\n'
    )
    first = run(service, "tariff", "set", "yen", "--currency", "jpy", "--price", "delivery=4")
    run(service, "tariff", "set", "yen", "--file", str(file))

    assert first.startswith("Version 1 of yen is good from 20")
    one, two = (each for each in shown(service, "tariff", "list") if each["tariff"] == "yen")
    assert (one["version"], one["currency"], one["policy"]) == (1, "JPY", "half-up-0")
    assert (two["version"], two["valid_from"]) == (2, "2099-01-01T00:00:00Z")
    assert [(p["kind"], p["item"], p["price"], p["per"]) for p in two["prices"]] == [
        ("DELIVERY", "", "5", 1),
        ("PROCESSING_SECOND", "", "6", 60),
        ("PROCESSING_IMAGE", "denoise", "2", 1),
    ]
    listed = run(service, "tariff", "list")
    assert re.search(r"yen\s+│\s+1 │ .* in force │ JPY", listed)
    newest = run(service, "tariff", "show", "yen")
    assert "version 2, good from 2099-01-01" in newest
    assert "6 per 60 seconds" in newest
    assert "4 per image" in run(service, "tariff", "show", "yen", "--version", "1")


def test_what_can_not_be_a_tariff_is_told(service: RunningService, tmp_path: Path) -> None:
    file = tmp_path / "tariff.toml"
    file.write_text('currency = "EUR"\n[prices]\ndelivery = 0.05\n')
    euro = ("tariff", "set", "wrong", "--currency", "EUR")

    assert "by --price or by --file" in refused(service, *euro)
    assert "No currency is given" in refused(service, "tariff", "set", "wrong", "--price", "delivery=1")
    assert "'XYZ' is no currency" in refused(
        service, "tariff", "set", "wrong", "--currency", "XYZ", "--price", "delivery=1"
    )
    assert "no kind of fee 'postage'" in refused(service, *euro, "--price", "postage=1")
    assert "two prices" in refused(service, *euro, "--price", "delivery=1", "--price", "delivery=2")
    assert "has one price for all" in refused(service, *euro, "--price", "delivery:x=1")
    assert "can't be paid" in refused(service, *euro, "--price", "delivery=0.005")
    assert "can't be changed for the past" in refused(
        service, *euro, "--price", "delivery=1", "--from", "2020-01-01"
    )
    assert "binary fraction" in refused(service, "tariff", "set", "wrong", "--file", str(file))
    assert "is EUR and, in the file, JPY" in refused(
        service, *euro[:3], "--currency", "EUR", "--file", str(_yen(tmp_path))
    )
    assert "can't be read" in refused(service, "tariff", "set", "wrong", "--file", str(tmp_path / "none"))
    assert "no tariff 'wrong'" in refused(service, "tariff", "show", "wrong")
    assert [each for each in shown(service, "tariff", "list") if each["tariff"] == "wrong"] == []


def test_a_contract_may_come_with_certificates(service: RunningService, tmp_path: Path) -> None:
    site = trustme.CA().issue_cert("ct1.example")
    site.cert_chain_pems[0].write_to_path(tmp_path / "ct1.pem")
    add = ("subscriber", "add", "D-site", "--role", "auditor", "--certificate")
    (tmp_path / "none.pem").write_text("nothing")
    assert "holds no certificate" in refused(service, *add, str(tmp_path / "none.pem"))
    run(service, *add, str(tmp_path / "ct1.pem"))

    (contract,) = shown(service, "subscriber", "show", "D-site")
    (credential,) = contract["credentials"]
    assert (credential["kind"], credential["label"]) == ("CLIENT_CERTIFICATE", "ct1.pem")


def test_a_contract_says_where_results_and_images_come_from_and_go(service: RunningService) -> None:
    apparatus = ("--apparatus", "W_CT#1=W_CT1/CT@10.9.0.7:104")
    add = ("subscriber", "add", "W-site", "--role", "image_registering", *apparatus)
    for options, problem in (
        (("--collect", "W_CT#1=c-get@1s"), "every 1 s"),
        (("--collect", "W_CT#2=c-get"), "'W_CT#2' is no apparatus of the contract"),
        (("--collect", "W_CT#1=ftp"), "does not say how images are collected"),
        (("--webhook", "http://w.example/"), "is not safe"),
    ):
        assert problem in refused(service, *add, *options)
    run(
        service, *add, "--collect", "W_CT#1=c-get@10m", "--collect", "W_CT#1=/var/spool/w",
        "--webhook", "https://w.example/results",
    )  # fmt: skip

    (contract,) = shown(service, "subscriber", "show", "W-site")
    assert contract["terms"]["webhook"] == "https://w.example/results"
    assert contract["terms"]["collections"] == [
        {"retrieval": "C_GET", "apparatus_id": "W_CT#1", "address": "", "every_seconds": 600},
        {"retrieval": "FOLDER", "apparatus_id": "W_CT#1", "address": "/var/spool/w", "every_seconds": 300},
    ]
    text = run(service, "subscriber", "show", "W-site")
    assert "https://w.example/results" in text
    assert re.search(r"W_CT#1 +│ c-get +│ 10m", text)
    assert re.search(r"W_CT#1 +│ /var/spool/w +│ 5m", text)
    listed = run(service, "catalog", "subscribers")
    assert "W_CT#1=c-get@10m" in listed

    secret = run(service, "subscriber", "webhook", "W-site").strip()
    key = (service.home / "webhook.key").read_text().strip()
    assert secret == hmac.digest(bytes.fromhex(key), b"webhook:W-site", "sha256").hex()
    assert run(service, "subscriber", "webhook", "W-site").strip() == secret
    assert "no subscriber 'nobody'" in refused(service, "subscriber", "webhook", "nobody")

    run(service, "subscriber", "change", "W-site", "--webhook", "none", "--collect", "W_CT#1=c-move")
    (contract,) = shown(service, "subscriber", "show", "W-site")
    assert contract["terms"]["webhook"] is None
    assert [each["retrieval"] for each in contract["terms"]["collections"]] == ["C_MOVE"]
    told = command(service.home, "subscriber", "webhook", "W-site")
    assert (told.code, told.out.strip()) == (0, secret)
    assert "has no webhook yet" in told.err

    run(service, "subscriber", "change", "W-site", "--collect", "")
    (contract,) = shown(service, "subscriber", "show", "W-site")
    assert contract["terms"]["collections"] == []


def test_a_contract_names_its_price_list_and_can_be_changed(service: RunningService) -> None:
    run(service, "tariff", "set", "basic", "--currency", "EUR", "--price", "delivery=0.05")
    assert "no price list 'golden'" in refused(
        service, "subscriber", "add", "C-site", "--role", "auditor", "--tariff", "golden"
    )
    assert "no payment condition 'cash'" in refused(
        service, "subscriber", "add", "C-site", "--role", "auditor", "--payment", "cash"
    )
    contract(
        service, "C-site", "--tariff", "basic", "--payment", "confirmed", "--capacity", "1GB",
        "--patient", "4711",
    )  # fmt: skip

    (before,) = shown(service, "subscriber", "show", "C-site")
    assert before["terms"]["tariff"] == "basic"
    assert before["terms"]["payment"] == "CONFIRMED"
    assert before["usage"] == {"images": 0, "bytes": 0}
    text = run(service, "subscriber", "show", "C-site")
    assert "0 B in use (0 images) of 953.7 MiB, 0.0%" in text

    assert "Nothing is to be changed" in refused(service, "subscriber", "change", "C-site")
    assert "no subscriber 'nobody'" in refused(service, "subscriber", "change", "nobody", "--name", "x")
    assert "no price list 'golden'" in refused(
        service, "subscriber", "change", "C-site", "--tariff", "golden"
    )
    run(
        service, "subscriber", "change", "C-site", "--payment", "none", "--capacity", "none", "--patient", "",
        "--name", "Clinic",
    )  # fmt: skip

    (after,) = shown(service, "subscriber", "show", "C-site")
    assert after["terms"] == before["terms"] | {
        "payment": None,
        "capacity_bytes": None,
        "name": "Clinic",
        "scope": {"patients": [], "registrants": [], "modalities": []},
    }


def test_a_payment_counts_once_and_its_reference_is_its_own(service: RunningService) -> None:
    contract(service, "P-site", "--tariff", "basic")
    pay = ("payment", "record", "P-site")

    assert "is recorded" in run(
        service, *pay, "250", "eur", "--reference", "R-1", "--paid-at", "2026-11-24", "--note", "by bank"
    )
    assert "recorded before" in run(service, *pay, "250.00", "EUR", "--reference", "R-1")
    assert "recorded" in run(service, *pay, "-12.50", "EUR", "--reference", "R-2")
    told = refused(service, *pay, "251", "EUR", "--reference", "R-1")
    assert "its amount is 250.00 EUR, not 251.00 EUR" in told
    assert "own reference" in told
    assert "its paid at is" in refused(
        service, *pay, "250", "EUR", "--reference", "R-1", "--paid-at", "2026-11-23"
    )
    assert "its note is 'by bank', not ''" in refused(
        service, *pay, "250", "EUR", "--reference", "R-1", "--note", ""
    )
    assert "its subscriber is 'P-site'" in refused(
        service, "payment", "record", "C-site", "250", "EUR", "--reference", "R-1"
    )
    for arguments, said in (
        (("250.001", "EUR"), "finer than the minor unit"),
        (("1e3", "EUR"), "is no amount"),
        (("0", "EUR"), "of nothing"),
        (("1", "ABC"), "is no currency"),
    ):
        assert said in refused(service, *pay, *arguments, "--reference", "R-3")
    assert "yet to come" in refused(service, *pay, "1", "EUR", "--reference", "R", "--paid-at", "2099-01-01")
    assert "no subscriber 'nobody'" in refused(
        service, "payment", "record", "nobody", "1", "EUR", "--reference", "R-3"
    )

    found = shown(service, "payment", "list", "--subscriber", "P-site")
    assert {(each["reference"], each["amount"], each["currency"]) for each in found} == {
        ("R-1", "250.00", "EUR"),
        ("R-2", "-12.50", "EUR"),
    }
    first = next(each for each in found if each["reference"] == "R-1")
    assert (first["paid_at"], first["note"]) == ("2026-11-24T00:00:00Z", "by bank")
    assert first["channel"] == "manual"
    (account,) = shown(service, "account", "show", "P-site")
    assert account["balances"] == [
        {
            "currency": "EUR",
            "charged": "0.00",
            "paid": "237.50",
            "left": "237.50",
            "invoiced": "0.00",
            "due": "-237.50",
        }
    ]


def test_a_program_activates_its_subscriber_with_a_token(service: RunningService, tmp_path: Path) -> None:
    contract(service, "T-site")
    file = tmp_path / "token"
    file.write_text(run(service, "credential", "issue", "T-site"))
    url = f"http://{service.status().http.removeprefix('http://')}"
    ask = ("activate", "--url", url)

    first = run(service, *ask, "--token-file", str(file), "--program", "viewer 4.2")
    assert first.startswith("T-site is active since ")
    (again,) = shown(service, *ask, "--token-file", str(file), "--program", "viewer 4.3")
    assert again["subscriber"] == "T-site"
    (contracted,) = shown(service, "subscriber", "show", "T-site")
    assert contracted["activated_at"] is not None
    told = shown(service, "replay", "subscribers")
    programs = [each["event"]["program"] for each in told if each["type"] == "SubscriberActivated"]
    assert programs == ["viewer 4.2"]

    file.write_text("wrong-token")
    assert "refused (401)" in refused(service, *ask, "--token-file", str(file))


def test_activation_says_what_is_wrong_without_a_service(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret-token\n")
    token = ("--token-file", str(file))

    def told(*arguments: str) -> str:
        done = command(tmp_path / "none", "activate", *arguments)
        assert done.code == 1
        assert "secret-token" not in done.out + done.err
        return " ".join(done.err.split())

    assert "no token in MEDBUS_TOKEN" in told("--url", "http://127.0.0.1:1")
    assert "can't be read" in told("--url", "http://127.0.0.1:1", "--token-file", str(tmp_path / "none"))
    assert "is no URL" in told("--url", "gateway", *token)
    assert "does not answer" in told("--url", "http://127.0.0.1:1", *token)


def test_a_period_that_is_not_over_is_refused_with_the_time_when_it_will_be(
    service: RunningService,
) -> None:
    month = datetime.now(UTC).strftime("%Y-%m")

    told = refused(service, "period", "close", month)
    assert f"{month} is not over: it will be at 20" in told
    assert "the last month that is over is" in told
    assert "is no period" in refused(service, "period", "close", "October")
    assert "no subscriber 'nobody'" in refused(
        service, "period", "close", "2026-10", "--subscriber", "nobody"
    )
    assert "nothing to bill" in run(service, "period", "close", "2020-01")


@dataclass(frozen=True)
class Billed:
    """A subscriber for whom all was done and billed.

    Attributes:
        invoices: its invoices, oldest first.
        told: what closing the period printed.
    """

    invoices: list[dict[str, Any]]
    told: str


@pytest.fixture(scope="module", autouse=True)
def used(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> datetime:
    """M-site registers and fetches images: first of all, so that its minute is over when it is billed."""
    folder = tmp_path_factory.mktemp("images")
    synthetic.series(folder / "sent", IMAGES, side=16, PatientID="M-1")
    run(service, "tariff", "set", "money", "--currency", "EUR", *PRICES)
    contract(service, "M-site", "--tariff", "money", "--payment", "prepaid", "--capacity", "1GB")

    before = command(service.home, "send", "--as", "M_SITE", str(folder / "sent"))
    assert before.code == 1, "sent without having paid"
    run(service, "payment", "record", "M-site", "500", "EUR", "--reference", "M-1")
    assert f"{IMAGES} of {IMAGES}" in run(service, "send", "--as", "M_SITE", str(folder / "sent"))
    service.wait(
        lambda: len(shown(service, "catalog", "images", "--patient", "M-1")) == IMAGES,
        "the images to be seen",
        20,
    )
    out = ("--out", str(folder / "out"))
    assert f"{IMAGES} of {IMAGES}" in run(service, "fetch", "--as", "M_SITE", "--patient", "M-1", *out)

    return datetime.now(UTC)


@pytest.fixture(scope="module")
def billed(service: RunningService, used: datetime) -> Billed:
    """The minutes in which M-site used the service are closed."""
    end = used.replace(second=0, microsecond=0) + timedelta(minutes=1)
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds() + 2.5))
    minute = used.strftime("%Y-%m-%dT%H:%M")
    closed = medbus("period", "close", minute, "--subscriber", "M-site", home=service.home)
    found = shown(service, "invoice", "list", "--subscriber", "M-site")
    assert minute in closed.stdout
    assert "Closing" in closed.stderr
    return Billed(found[::-1], closed.stdout + closed.stderr)


def total(billed: Billed, kind: str, field: str) -> int:
    return sum(
        line[field] for invoice in billed.invoices for line in invoice["lines"] if line["kind"] == kind
    )


def cents(amount: str) -> int:
    assert re.fullmatch(r"-?\d+\.\d\d", amount), amount
    return int(amount.replace(".", ""))


def test_closing_a_period_issues_its_invoice(service: RunningService, billed: Billed) -> None:
    assert total(billed, "DELIVERY", "count") == IMAGES
    assert total(billed, "SUBSCRIPTION", "count") == 1
    assert total(billed, "CONNECTION", "count") == 3  # fetching takes one to search and one to get
    delivery = next(line for each in billed.invoices for line in each["lines"] if line["kind"] == "DELIVERY")
    assert (delivery["price"], delivery["per"], delivery["unit"]) == ("0.05", 1, "image")
    assert (delivery["policy"], delivery["tariff"], delivery["version"]) == ("half-up-2", "money", 1)
    for each in billed.invoices:
        assert cents(each["total"]) == sum(cents(line["amount"]) for line in each["lines"])
        assert each["number"] in billed.told

    again = run(service, "period", "close", billed.invoices[-1]["period"])
    assert billed.invoices[-1]["number"] in again
    assert len(shown(service, "invoice", "list", "--subscriber", "M-site")) == len(billed.invoices)
    closed = shown(service, "period", "list", "--subscriber", "M-site")
    assert [each["period"] for each in closed][::-1] == [each["period"] for each in billed.invoices]


def test_the_account_is_the_sum_of_it_all(service: RunningService, billed: Billed) -> None:
    (account,) = shown(service, "account", "show", "M-site")
    fees = shown(service, "account", "fees", "M-site")

    (balance,) = account["balances"]
    assert cents(balance["charged"]) == sum(cents(each["amount"]) for each in fees)
    assert cents(balance["invoiced"]) == sum(cents(each["total"]) for each in billed.invoices)
    assert balance["paid"] == "500.00"
    assert cents(balance["left"]) == 50000 - cents(balance["charged"])
    assert cents(balance["due"]) == cents(balance["invoiced"]) - 50000
    assert (account["tariff"], account["payment"]) == ("money", "PREPAID")
    capacity = account["capacity"]
    assert (capacity["images"], capacity["allocated_bytes"]) == (IMAGES, 10**9)
    assert capacity["bytes"] > IMAGES * 16 * 16 * 2
    assert capacity["share"] == pytest.approx(capacity["bytes"] / 10**9)
    assert billed.invoices[-1]["number"] in {each["number"] for each in account["invoices"]}

    text = run(service, "account", "show", "M-site")
    assert f"({IMAGES} images) of 953.7 MiB" in text
    assert balance["left"] in text
    assert "byte-days so far" in text
    assert len(shown(service, "account", "fees", "M-site", "--kind", "delivery")) == IMAGES
    assert len(shown(service, "account", "fees", "M-site", "--limit", "3")) == 3
    assert shown(service, "account", "fees", "M-site", "--to", "2026-01-01") == []
    assert "0.05 EUR" in run(service, "account", "fees", "M-site", "--kind", "delivery")
    assert "no subscriber 'nobody'" in refused(service, "account", "show", "nobody")
    assert "no kind of fee" in refused(service, "account", "fees", "M-site", "--kind", "postage")


def test_every_line_is_explained_by_events_that_are_on_the_log(
    service: RunningService, billed: Billed
) -> None:
    on_the_log = {
        (each["topic"], each["partition"], each["offset"]): each
        for each in shown(service, "replay", "deliveries", "decisions", "subscribers", "fees")
    }
    for each in billed.invoices:
        (invoice,) = shown(service, "invoice", "show", each["number"], "--events")
        for line in invoice["lines"]:
            events = [event for event in invoice["events"] if event["line"] == line["line"]]
            assert len(events) == line["count"]
            assert sum(cents(event["amount"]) for event in events) == cents(line["amount"])
            assert sum(event["quantity"] for event in events) == line["quantity"]
            for event in events:
                cause = on_the_log[event["topic"], event["partition"], event["offset"]]
                assert cause["event"]["meta"]["event_id"] == event["cause_id"]
        text = run(service, "invoice", "show", each["number"], "--events")
        assert f"to before {each['end'][:10]}" in text
        assert all(event["fee_id"] in text for event in invoice["events"])
        assert "fee " not in run(service, "invoice", "show", each["number"])
    assert "no invoice 'nothing'" in refused(service, "invoice", "show", "nothing")


def test_invoices_are_exported_with_their_events(
    service: RunningService, billed: Billed, tmp_path: Path
) -> None:
    (number,) = (
        each["number"]
        for each in billed.invoices
        if any(line["kind"] == "DELIVERY" for line in each["lines"])
    )
    (whole,) = shown(service, "invoice", "show", number, "--events")

    as_json = json.loads(run(service, "invoice", "export", number, "--format", "json"))
    assert as_json == whole
    file = tmp_path / "invoice.csv"
    run(service, "invoice", "export", number, "--format", "csv", "--out", str(file))
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    assert [row["row"] for row in rows].count("line") == len(whole["lines"])
    assert rows[-1]["row"] == "total"
    assert rows[-1]["amount"] == whole["total"]
    events = [row for row in rows if row["row"] == "event"]
    assert [row["fee_id"] for row in events] == [event["fee_id"] for event in whole["events"]]
    assert all(row["topic"] and row["partition"] and row["offset"] for row in events)
    assert sum(cents(row["amount"]) for row in events) == cents(whole["total"])
    table = run(service, "invoice", "export", number)
    assert all(event["fee_id"] in table for event in whole["events"])

    pdf = subprocess.run(
        [sys.executable, "-m", "medbus.compose.cli", "invoice", "export", number, "--format", "pdf"],
        env={**os.environ, "MEDBUS_HOME": str(service.home)},
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")


def test_all_invoices_of_a_period_are_exported_at_once(
    service: RunningService, billed: Billed, tmp_path: Path
) -> None:
    period = billed.invoices[-1]["period"]
    out = tmp_path / "invoices"
    run(service, "invoice", "export", "--period", period, "--format", "pdf", "--out", str(out))

    names = [path.name for path in out.iterdir()]
    number = billed.invoices[-1]["number"]
    assert f"{number.replace(':', '_')}.pdf" in names
    told = run(service, "invoice", "export", "--period", period, "--format", "json")
    assert number in {json.loads(line)["number"] for line in told.splitlines()}
    assert "need a folder" in refused(service, "invoice", "export", "--period", period, "--format", "pdf")
    assert "no invoice for 2020-01" in refused(service, "invoice", "export", "--period", "2020-01")
    assert "by its number, or" in refused(service, "invoice", "export")
    assert "can't be written" in refused(
        service, "invoice", "export", number, "--out", str(tmp_path / "no" / "folder")
    )


def test_a_request_is_shown_with_all_that_followed_from_it(service: RunningService, billed: Billed) -> None:
    found = shown(service, "request", "list", "--subscriber", "M-site")
    assert found[-1]["outcome"] == "REJECTED"
    assert found[-1]["reason"] == "PAYMENT_REQUIRED"
    (delivery,) = shown(service, "request", "list", "--subscriber", "M-site", "--kind", "delivery")
    assert delivery["outcome"] == "AUTHORIZED"
    rejected = shown(service, "request", "list", "--subscriber", "M-site", "--rejected")
    assert {each["outcome"] for each in rejected} == {"REJECTED"}
    told = run(service, "request", "list", "--subscriber", "M-site", "--rejected")
    assert "rejected: Payment required" in told
    assert shown(service, "request", "list", "--to", "2026-01-01") == []
    assert len(shown(service, "request", "list", "--limit", "2")) == 2

    steps = shown(service, "request", "show", delivery["request_id"])
    assert [(each["depth"], each["type"]) for each in steps[:2]] == [
        (0, "DeliveryRequested"),
        (1, "RequestAuthorized"),
    ]
    assert {each["depth"] for each in steps if each["type"] == "ImageDelivered"} == {2}
    kinds = [each["type"] for each in steps]
    assert kinds.count("ImageDelivered") == IMAGES
    images = {each["event_id"] for each in steps if each["type"] == "ImageDelivered"}
    fees = [each for each in steps if each["type"] == "FeeCharged" and each["cause_id"] in images]
    assert len(fees) == IMAGES
    assert {(each["amount"], each["currency"]) for each in fees} == {("0.05", "EUR")}

    told = run(service, "request", "show", delivery["request_id"])
    assert told.startswith("DeliveryRequested by M_SITE")
    # The conversation's first grant was that of its query: its fee stands there.
    assert "CONNECTION" not in told
    query = next(each for each in found if each["request_id"] == delivery["conversation"])
    assert "FeeCharged CONNECTION 0.01 EUR" in run(service, "request", "show", query["request_id"])
    assert f"    {IMAGES - 20} more ImageDelivered" in told
    assert f"      {IMAGES - 20} more FeeCharged DELIVERY, 0.25 EUR" in told
    assert f"no request {(nothing := uuid4())}" in refused(service, "request", "show", str(nothing))
    assert "no kind of request 'tea'" in refused(service, "request", "list", "--kind", "tea")


def test_an_audit_finds_nothing_where_all_is_right(service: RunningService, billed: Billed) -> None:
    (report,) = shown(service, "audit", "rebill", "--subscriber", "M-site")
    fees = shown(service, "account", "fees", "M-site")

    assert (report["fees"], report["differences"]) == (len(fees), [])
    assert (report["invoices"], report["invoice_differences"]) == (len(billed.invoices), [])
    assert (report["waiting"], report["different"]) == (0, 0)
    told = run(service, "audit", "rebill", "--subscriber", "M-site")
    assert f"{len(fees)} fees and " in told
    assert "0 differences." in told


def test_an_audit_finds_a_fee_that_nothing_led_to(service: RunningService) -> None:
    contract(service, "F-site", "--tariff", "basic")
    forged = FeeCharged(
        meta=Meta.first(uuid4(), source="forger", occurred_at=datetime.now(UTC)),
        subscriber="F-site",
        kind=FeeKind.DELIVERY,
        quantity=1,
        unit="image",
        price="0.05",
        per=1,
        amount=Money(minor_units=5, currency="EUR"),
        policy="half-up-2",
        tariff="basic",
        version=1,
        cause=Origin(topic="deliveries", partition=0, offset=0),
    )

    async def publish() -> None:
        settings = service.settings()
        async with Bus(bootstrap(settings), client_id="forger", prefix=settings.prefix) as bus:
            await bus.publish(forged)

    asyncio.run(publish())
    done = command(service.home, "audit", "rebill", "--subscriber", "F-site", "--json")

    assert done.code == 1
    (difference,) = json.loads(done.out)["differences"]
    assert difference["what"] == "surplus"
    assert difference["fee_id"] == str(forged.meta.event_id)
    assert difference["found"]["amount"] == "0.05"
    table = command(service.home, "audit", "rebill", "--subscriber", "F-site")
    assert table.code == 1
    assert "surplus" in table.out
    assert "1 difference." in table.out


def _yen(folder: Path) -> Path:
    file = folder / "yen.toml"
    file.write_text('currency = "JPY"\n[prices]\ndelivery = "5"\n')
    return file
