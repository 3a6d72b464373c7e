"""The terms of a contract as options of a command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.compose.cli import terms
from medbus.schemas.errors import SettingsError
from medbus.schemas.events import Collection, Retrieval


@pytest.mark.parametrize(
    ("text", "apparatus", "retrieval", "address", "seconds"),
    [
        ("A_CT#1=c-get@300s", "A_CT#1", Retrieval.C_GET, "", 300),
        ("A_CT#1=C_MOVE", "A_CT#1", Retrieval.C_MOVE, "", 300),
        (" A_CT#1 = c-move@2h ", "A_CT#1", Retrieval.C_MOVE, "", 7200),
        (
            "P=https://pacs.example/dicom-web@1d",
            "P",
            Retrieval.DICOMWEB,
            "https://pacs.example/dicom-web",
            86400,
        ),
        ("P=http://10.0.0.1:8042/rs?a=b", "P", Retrieval.DICOMWEB, "http://10.0.0.1:8042/rs?a=b", 300),
        ("U=/var/spool/us1@30s", "U", Retrieval.FOLDER, "/var/spool/us1", 30),
        ("U=/var/spool/us@1@5m", "U", Retrieval.FOLDER, "/var/spool/us@1", 300),
        ("U=/var/spool/us@1", "U", Retrieval.FOLDER, "/var/spool/us@1", 300),
    ],
)
def test_a_collection(text: str, apparatus: str, retrieval: Retrieval, address: str, seconds: int) -> None:
    assert terms.collection(text) == Collection(
        retrieval=retrieval, apparatus_id=apparatus, address=address, every_seconds=seconds
    )


@pytest.mark.parametrize(
    "text",
    ["", "A_CT#1", "A_CT#1=", "=c-get", "A_CT#1=@5s", "A_CT#1=c-find", "U=spool", "U=c-get@5w", "c-get@5s"],
)
def test_other_texts_are_no_collections(text: str) -> None:
    with pytest.raises(SettingsError, match="does not say how images are collected") as caught:
        terms.collection(text)
    assert "'A_CT#1=c-get@300s'" in caught.value.advice


collections = st.builds(
    lambda way, apparatus_id, every: Collection(
        retrieval=way[0], apparatus_id=apparatus_id, address=way[1], every_seconds=every
    ),
    st.sampled_from(
        [
            (Retrieval.C_GET, ""),
            (Retrieval.C_MOVE, ""),
            (Retrieval.DICOMWEB, "https://a.example/b@5s"),
            (Retrieval.FOLDER, "/a/b@5s"),
        ]
    ),
    st.sampled_from(["A_CT#1", "A@B"]),
    st.integers(5, 31 * 86400),
)


@given(collections)
def test_a_collection_is_shown_as_it_is_written(collection: Collection) -> None:
    assert terms.collection(terms.collected(collection)) == collection


def test_a_collection_is_shown_in_the_largest_unit() -> None:
    shown = [
        terms.every(Collection(retrieval=Retrieval.C_GET, apparatus_id="A", every_seconds=seconds))
        for seconds in (5, 60, 90, 300, 7200, 86400, 31 * 86400)
    ]
    assert shown == ["5s", "1m", "90s", "5m", "2h", "1d", "31d"]


def test_a_webhook_may_be_none() -> None:
    assert terms.webhook("none") is None
    assert terms.webhook(" https://results.example/ ") == "https://results.example/"
