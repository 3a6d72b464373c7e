"""Invoices as PDF: complete, within the page, the same bytes each time."""

import hashlib
import re
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medbus.compose import invoice_fonts as fonts
from medbus.compose import invoice_pdf
from medbus.compose.invoice_pdf import BOTTOM, LEFT, RIGHT, TOP, Page, Written
from medbus.schemas.events import FeeKind, InvoiceIssued, InvoiceLine, Meta, Money

ISSUED = datetime(2026, 11, 1, 0, 5, 7, tzinfo=UTC)


def line(**fields: Any) -> InvoiceLine:
    given = {
        "kind": FeeKind.DELIVERY,
        "count": 1200,
        "quantity": 1200,
        "unit": "image",
        "price": "0.05",
        "per": 1,
        "amount": Money(minor_units=6000, currency="EUR"),
        "policy": "half-up-2",
        "tariff": "standard",
        "version": 2,
        "digest": hashlib.sha256(str(fields).encode()).hexdigest(),
    }
    return InvoiceLine(**{**given, **fields})


def invoice(*lines: InvoiceLine, **fields: Any) -> InvoiceIssued:
    given = {
        "meta": Meta.first(uuid5(NAMESPACE_OID, "invoice"), source="billing", occurred_at=ISSUED),
        "subscriber": "A-hospital",
        "number": "A-hospital-2026-10",
        "period": "2026-10",
        "start": datetime(2026, 10, 1, tzinfo=UTC),
        "end": datetime(2026, 11, 1, tzinfo=UTC),
        "name": "A hospital",
        "lines": lines,
        "total": Money(minor_units=sum(each.amount.minor_units for each in lines), currency="EUR"),
    }
    return InvoiceIssued(**{**given, **fields})


def laid_out(of: InvoiceIssued) -> list[Page]:
    return invoice_pdf.layout(of, service="MEDBUS", issued_at=ISSUED)


def written(pages: list[Page]) -> list[Written]:
    return [item for page in pages for item in page if isinstance(item, Written)]


def text(item: Written) -> str:
    return "".join(run.text for run in item.line.runs).replace("\N{NO-BREAK SPACE}", " ")


def texts(of: InvoiceIssued) -> list[str]:
    return [text(item) for item in written(laid_out(of))]


def test_it_says_what_is_billed() -> None:
    periodic = line(
        kind=FeeKind.REGISTRATION_IN_USE,
        count=1,
        quantity=62_000_000_000,
        unit="byte-day",
        price="0.002",
        per=10**9,
        amount=Money(minor_units=12, currency="EUR"),
        period="2026-10",
    )
    said = texts(invoice(line(), periodic))

    assert said[:2] == ["MEDBUS", "Invoice A-hospital-2026-10"]
    assert "2026-10: from 2026-10-01 00:00 UTC until before 2026-11-01 00:00 UTC" in said
    assert said[said.index("1") :][:6] == ["1", "Delivery", "1 200", "1 200 images", "0.05", "60.00"]
    second = said[said.index("2") :]
    assert second[:6] == [
        *("2", "Registration in use", "1", "62 000 000 000", "0.002 per", "0.12"),
    ]
    assert second[6:8] == ["byte-days", "1 000 000 000"]
    assert second[8].startswith("For 2026-10. ")
    assert "Price list standard, version 2; each rounded half up to 2 decimals (half-up-2)." in said
    assert f"1 event, SHA-256 of their ids {periodic.digest}" in said
    assert f"1 200 events, SHA-256 of their ids {line().digest}" in said
    assert "Total 60.12 EUR" in said
    assert said[-1] == "A-hospital-2026-10, page 1 of 1"


def test_a_period_with_nothing_in_it() -> None:
    said = texts(invoice())

    assert "Nothing was charged in this period." in said
    assert "Total 0.00 EUR" in said


@pytest.mark.parametrize(
    ("currency", "minor", "shown"), [("JPY", 1250, "1250 JPY"), ("BHD", 1250, "1.250 BHD")]
)
def test_amounts_have_the_decimals_of_their_currency(currency: str, minor: int, shown: str) -> None:
    amount = Money(minor_units=minor, currency=currency)

    assert f"Total {shown}" in texts(invoice(line(amount=amount), total=amount))


def test_many_lines_go_on_on_pages_that_all_have_the_head_and_a_number() -> None:
    many = invoice(*(line(item=f"type {number}", kind=FeeKind.PROCESSING_IMAGE) for number in range(200)))
    pages = laid_out(many)

    assert len(pages) > 5
    for number, page in enumerate(pages, start=1):
        said = [text(item) for item in written([page])]
        assert said[-1] == f"A-hospital-2026-10, page {number} of {len(pages)}"
        assert {"What for", "Quantity", "Unit price", "Amount"} <= set(said)
        assert "MEDBUS" in said[0]
    everything = texts(many)
    assert all(f"Processing image: type {number}" in everything for number in range(200))
    assert all(any(each.digest in said for said in everything) for each in many.lines)
    assert pdf_pages(many) == len(pages)


def test_a_line_stays_together_where_it_fits_on_a_page() -> None:
    for page in laid_out(invoice(*(line(item=str(number)) for number in range(100)))):
        said = [text(item) for item in written([page])]
        assert sum("SHA-256 of their" in each for each in said) == sum("Delivery:" in each for each in said)


def test_the_same_invoice_gives_the_same_bytes_in_every_process() -> None:
    program = (
        "import sys; from tests.compose.test_invoice_pdf import *; "
        "of = invoice(line(item='東京 Köln'), line(item='서울')); "
        "sys.stdout.buffer.write(invoice_pdf.render(of, service='MEDBUS', issued_at=ISSUED))"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60).stdout
        for _ in range(2)
    )

    assert first.startswith(b"%PDF-")
    assert first == second


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Köln Gdańsk", [("Vera", "Köln Gda", ""), ("Vera", "n", "\u00b4"), ("Vera", "sk", "")]),
        ("Ząb", [("Vera", "Z", ""), ("Vera", "a", "\u02db"), ("Vera", "b", "")]),
        ("ĩ", [("Vera", "\u0131", "\u02dc")]),
        ("東京大学 (Tokyo)", [("HeiseiMin-W3", "東京大学", ""), ("Vera", " (Tokyo)", "")]),
        ("北京协和医院", [("STSong-Light", "北京协和医院", "")]),
        ("臺灣大學", [("HeiseiMin-W3", "臺灣大學", "")]),
        ("台灣的醫院吧", [("STSong-Light", "台灣的醫院吧", "")]),
        ("서울", [("HYSMyeongJo-Medium", "서울", "")]),
        ("ひらがな", [("HeiseiMin-W3", "ひらがな", "")]),
        ("Ω", [("Vera", "Ω", "")]),
        ("Москва", [("HeiseiMin-W3", "Москва", "")]),
        ("مكة", [("Vera", "[U+0645][U+0643][U+0629]", "")]),
        ("a\U0001f600b", [("Vera", "a[U+1F600]b", "")]),
        ("a\u0000\tb", [("Vera", "a[U+0000] b", "")]),
        ("e\u0301", [("Vera", "é", "")]),
    ],
)
def test_each_run_of_characters_has_a_font_that_has_them(
    name: str, expected: list[tuple[str, str, str]]
) -> None:
    assert [tuple(run) for run in fonts.runs(name)] == expected


NAMES = st.text(max_size=200) | st.text("abc漢字한글ęřЖ \u00a0", max_size=400)


@settings(max_examples=60, deadline=None)
@given(name=NAMES, number=NAMES, item=NAMES, digits=st.integers(1, 18))
def test_nothing_is_cut_off_and_nothing_leaves_the_page(
    name: str, number: str, item: str, digits: int
) -> None:
    big = 10**digits - 1
    of = invoice(
        line(
            item=item,
            count=big,
            quantity=big,
            price=f"{10 ** min(digits, 15) - 1}.{'9' * 12}",
            per=big,
            amount=Money(minor_units=big, currency="EUR"),
        ),
        name=name,
        number=number,
    )
    pages = laid_out(of)

    lines = written(pages)
    for each in lines:
        assert each.x >= LEFT - 0.01
        assert each.x + each.line.width <= RIGHT + 0.01
        assert 0 < each.y < TOP
    for page in pages:
        assert all(item.y >= BOTTOM - 0.01 for item in page[: -foot_lines(page)])
    columns = defaultdict[tuple[str, int], str](str)
    for each in lines:
        columns["from", round(each.x)] += plain(shown(each))
        columns["to", round(each.x + each.line.width)] += plain(shown(each))
    for value in (name, number, item, str(big)):
        assert any(plain(shown_text(value)) in column for column in columns.values()), value
    invoice_pdf.render(of, service="MEDBUS", issued_at=ISSUED)


def test_even_one_line_that_is_longer_than_a_page_is_all_there() -> None:
    of = invoice(line(item="x" * 5000, kind=FeeKind.PROCESSING_IMAGE))

    assert sum(said.count("x") for said in texts(of)) >= 5000
    assert len(laid_out(of)) > 1


def foot_lines(page: Page) -> int:
    """How many lines stand below the margin: the foot, which is written last."""
    return sum(item.y < BOTTOM - 0.01 for item in page)


def plain(value: str) -> str:
    """Without blanks, where lines may be broken."""
    return "".join(value.split())


def shown(item: Written) -> str:
    return "".join(run.text + run.marks for run in item.line.runs)


def shown_text(value: str) -> str:
    return "".join(run.text + run.marks for run in fonts.runs(value))


def pdf_pages(of: InvoiceIssued) -> int:
    rendered = invoice_pdf.render(of, service="MEDBUS", issued_at=ISSUED)
    return len(re.findall(rb"/Type /Page\b", rendered))
