"""Reading single values of a data set that may hold anything."""

import math
from collections.abc import Sequence

from pydicom.dataset import Dataset

from medbus.streams.processing.dicom.errors import UnusableImage

Vector = tuple[float, float, float]


def value_of(dataset: Dataset, keyword: str) -> object:
    """The value of an element; None if it is absent, empty or no value of its representation."""
    try:
        return dataset.get(keyword, None)
    except (
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        NotImplementedError,
    ):  # one bad element is no bad image
        return None


def text(dataset: Dataset, keyword: str) -> str:
    """The first value as text without spaces around it; empty if there is none."""
    value = value_of(dataset, keyword)
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = value[0] if value else ""
    return str(value).strip()


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """All values as text without spaces around them."""
    value = value_of(dataset, keyword)
    if value is None:
        return []
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [str(each).strip() for each in value]
    return [str(value).strip()]


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first value as a finite number; None if it is none."""
    try:
        value = float(text(dataset, keyword))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def numbers(dataset: Dataset, keyword: str, count: int) -> list[float] | None:
    """So many values as finite numbers; None if there are not."""
    try:
        values = [float(each) for each in texts(dataset, keyword)]
    except ValueError:
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def vector(dataset: Dataset, keyword: str) -> Vector | None:
    """Three numbers; None if there are not."""
    values = numbers(dataset, keyword, 3)
    return None if values is None else (values[0], values[1], values[2])


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """The first value as a whole number.

    Raises:
        UnusableImage: it is none, and there is no default.
    """
    value = number(dataset, keyword)
    if value is not None and value == int(value):
        return int(value)
    if default is None:
        raise UnusableImage(
            f"{keyword} is {text(dataset, keyword) or 'absent'}.", "Send the image again, complete."
        )
    return default


def items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """The items of a sequence; none if it is absent, empty or no sequence."""
    value = value_of(dataset, keyword)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [each for each in value if isinstance(each, Dataset)]
    return []


def item(dataset: Dataset, keyword: str, index: int = 0) -> Dataset | None:
    """One item of a sequence; None if there is none."""
    value = value_of(dataset, keyword)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or index >= len(value):
        return None
    found = value[index]
    return found if isinstance(found, Dataset) else None


def macro(dataset: Dataset, frame: int, keyword: str) -> Dataset | None:
    """The item of a functional group that holds for a frame (PS3.3 C.7.6.16): its own, else the shared one.

    Args:
        dataset: of an enhanced multi-frame image; another has no groups.
        frame: from 0.
        keyword: of the macro's sequence.
    """
    for groups, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        group = item(dataset, groups, index)
        if group is not None and (found := item(group, keyword)) is not None:
            return found
    return None
