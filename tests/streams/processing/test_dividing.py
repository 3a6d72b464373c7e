"""Into which work items the images of a request are divided."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.streams.processing.requested import one, several

from medbus.streams.processing.asked import Asked, asked
from medbus.streams.processing.planning.dividing import Part, Unplannable, divide
from medbus.streams.processing.planning.identity import identity_of
from medbus.streams.processing.planning.inputs import Input, is_image, without_image

SMOOTH = asked("gaussian", {"sigma": "1"})
SMOOTH_VOLUME = asked("gaussian", {"sigma": "1", "extent": "volume"})
MIP = asked("mip", {})
SUBTRACT = asked("subtract", {})

inputs = st.lists(
    st.builds(
        one,
        st.integers(1, 60).map(str),
        series=st.sampled_from(["1.1", "1.2", "1.3"]),
        number=st.none() | st.integers(-5, 5),
        reason=st.sampled_from(["", "", "", "no image"]),
    ),
    min_size=1,
    max_size=30,
)


def names(parts: Sequence[Part], chosen: Sequence[Input]) -> list[list[str]]:
    """The UIDs of each part's images."""
    uids = {each.blob.digest: each.sop_instance_uid for each in chosen}
    return [[uids[blob.digest] for blob in part.images] for part in parts]


def masks_of(parts: Sequence[Part], masks: Sequence[Input]) -> list[list[str]]:
    uids = {each.blob.digest: each.sop_instance_uid for each in masks}
    return [[uids[blob.digest] for blob in part.masks] for part in parts]


def test_frame_by_frame_each_object_is_an_item_in_the_order_of_the_numbers() -> None:
    chosen = [one("c", number=10), one("b", number=9), one("a", series="1.2"), one("d")]
    parts = divide(SMOOTH, chosen)
    assert names(parts, chosen) == [["b"], ["c"], ["d"], ["a"]]
    assert [part.number for part in parts] == [0, 1, 2, 3]


@pytest.mark.parametrize("wanted", [SMOOTH_VOLUME, MIP], ids=["volume", "projection"])
def test_what_needs_a_volume_has_an_item_for_each_series(wanted: Asked) -> None:
    chosen = several(3, "1.2") + several(2, "1.1")
    assert names(divide(wanted, chosen), chosen) == [["1.1.1", "1.1.2"], ["1.2.1", "1.2.2", "1.2.3"]]


def test_an_object_that_can_not_be_processed_is_an_item_that_fails_beside_the_others() -> None:
    chosen = [*several(2), one("1.1.9", number=2, reason="1.1.9 has no image.")]
    assert [(len(part.images), part.reason) for part in divide(MIP, chosen)] == [
        (2, ""),
        (1, "1.1.9 has no image."),
    ]


def test_no_images_are_refused() -> None:
    with pytest.raises(Unplannable, match="No images were chosen"):
        divide(SMOOTH, [])


def test_one_mask_is_for_all_images() -> None:
    images, mask = several(3), one("m", series="2.1")
    parts = divide(SUBTRACT, images, [mask])
    assert names(parts, images) == [["1.1.1"], ["1.1.2"], ["1.1.3"]]
    assert masks_of(parts, [mask]) == [["m"]] * 3


def test_as_many_masks_as_images_are_paired_by_instance_number() -> None:
    images = [one("i2", number=20), one("i1", number=10)]
    masks = [one("m1", series="2.1", number=1), one("m2", series="2.1", number=2)]
    parts = divide(SUBTRACT, images, masks)
    assert names(parts, images) == [["i1"], ["i2"]]
    assert masks_of(parts, masks) == [["m1"], ["m2"]]


@pytest.mark.parametrize(
    ("wanted", "images", "masks", "message"),
    [
        (
            SMOOTH,
            several(1),
            several(1, "2"),
            "gaussian takes no masks. Leave them out, or ask for subtract.",
        ),
        (SUBTRACT, several(1), [], "subtract needs a mask. Name what is to be subtracted."),
        (SUBTRACT, several(3), several(2, "2"), "2 masks can't be paired with 3 images."),
        (SUBTRACT, [*several(1), *several(1, "1.2")], several(2, "2"), "The images are of several series"),
        (SUBTRACT, several(2), [*several(1, "2"), *several(1, "3")], "The masks are of several series"),
        (SUBTRACT, several(2), [one("m"), one("n", number=1)], "Some masks have no instance number"),
        (SUBTRACT, [one("a", number=1), one("b", number=1)], several(2, "2"), "Some images have no instance"),
        (SUBTRACT, several(1), [one("m", reason="m is a report.")], "A mask can't be used: m is a report."),
    ],
)
def test_masks_that_can_not_be_paired_are_refused(
    wanted: Asked, images: list[Input], masks: list[Input], message: str
) -> None:
    with pytest.raises(Unplannable) as caught:
        divide(wanted, images, masks)
    assert str(caught.value).startswith(message)


@given(inputs, st.randoms(use_true_random=False), st.sampled_from([SMOOTH, MIP]))
def test_order_and_repetition_make_no_difference(chosen: list[Input], random: object, wanted: Asked) -> None:
    shuffled = [*chosen, chosen[0]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    # Of two descriptions of the same object the first in order counts: equal ones only.
    once = list({each.blob.digest: each for each in sorted(chosen, key=Input.order, reverse=True)}.values())
    assert divide(wanted, once) == divide(wanted, [*reversed(once), once[0]])
    assert {blob.digest for part in divide(wanted, shuffled) for blob in part.images} == {
        each.blob.digest for each in chosen
    }


@given(inputs, st.sampled_from([SMOOTH, SMOOTH_VOLUME, MIP]))
def test_each_object_is_in_one_item(chosen: list[Input], wanted: Asked) -> None:
    parts = divide(wanted, chosen)
    digests = [blob.digest for part in parts for blob in part.images]
    assert len(digests) == len(set(digests))
    assert set(digests) == {each.blob.digest for each in chosen}
    assert [part.number for part in parts] == list(range(len(parts)))
    assert len({part.identity for part in parts}) == len(parts)
    if wanted is SMOOTH:
        assert all(len(part.images) == 1 for part in parts)


def test_the_same_work_has_the_same_identity_and_other_work_another() -> None:
    identity = identity_of(SMOOTH, ["a", "b"])
    assert identity == identity_of(asked("gaussian", {"sigma": "1.0", "extent": "frame"}), ["b", "a", "a"])
    assert identity.startswith("blake3:")
    others = [
        identity_of(SMOOTH, ["a"]),
        identity_of(SMOOTH, ["a", "c"]),
        identity_of(SMOOTH, ["a"], ["b"]),
        identity_of(asked("gaussian", {"sigma": "2"}), ["a", "b"]),
        identity_of(asked("gaussian", {"sigma": "1", "resample": "yes"}), ["a", "b"]),
        identity_of(asked("log", {"sigma": "1"}), ["a", "b"]),
    ]
    assert len({identity, *others}) == len(others) + 1


@pytest.mark.parametrize(
    ("sop_class_uid", "expected"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", True),  # CT
        ("1.2.840.10008.5.1.4.1.1.2.1", True),  # enhanced CT
        ("1.2.840.10008.5.1.4.1.1.6", True),  # ultrasound, retired
        ("1.2.840.10008.5.1.4.1.1.6.2", True),  # enhanced ultrasound volume
        ("1.2.840.10008.5.1.4.1.1.1.1.1", True),  # digital X-ray for processing
        ("1.2.840.10008.5.1.4.1.1.30", True),  # parametric map
        ("1.2.840.10008.5.1.4.1.1.77.1.6", True),  # whole slide
        ("1.2.3.4", True),  # nobody's
        ("1.2.840.10008.5.1.4.1.1.88.11", False),  # basic text SR
        ("1.2.840.10008.5.1.4.1.1.88.59", False),  # key object selection
        ("1.2.840.10008.5.1.4.1.1.11.1", False),  # presentation state
        ("1.2.840.10008.5.1.4.1.1.9.1.1", False),  # 12-lead ECG
        ("1.2.840.10008.5.1.4.1.1.66.4", False),  # segmentation
        ("1.2.840.10008.5.1.4.1.1.481.2", False),  # RT dose
        ("1.2.840.10008.5.1.4.1.1.481.3", False),  # RT structure set
        ("1.2.840.10008.5.1.4.1.1.104.1", False),  # PDF
    ],
)
def test_the_sop_class_says_whether_an_object_is_an_image(sop_class_uid: str, expected: bool) -> None:
    assert is_image(sop_class_uid) is expected


def test_the_reason_against_what_is_no_image_says_what_it_is() -> None:
    assert without_image("1.2", "1.2.840.10008.5.1.4.1.1.88.11") == (
        "1.2 has no image to process: it is Basic Text SR Storage. Choose images."
    )
