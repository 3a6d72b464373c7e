"""What can be wrong with an encoded data set."""

from medbus.schemas.errors import MedbusError


class UnreadableDataSet(MedbusError):
    """An encoded data set that can't be registered."""


class TruncatedDataSet(UnreadableDataSet):
    """The data set ends before the lengths in it say that it ends.

    Args:
        offset: bytes that came.
        what: what was being read when they ended.
    """

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(
            f"The data set is cut short: it ends after {offset} bytes, inside {what}.",
            "Send it again, or repair the file.",
        )
        self.offset = offset


class MalformedDataSet(UnreadableDataSet):
    """The bytes are no data set in that transfer syntax.

    Args:
        offset: where reading failed, in bytes from the start of the (inflated) data set.
        what: what is wrong there.
    """

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(
            f"The data set can't be read at byte {offset}: {what}.",
            "Check the file, and the transfer syntax that it was sent in.",
        )
        self.offset = offset


class OversizedDataSet(UnreadableDataSet):
    """What has to be held in memory, or inflated, is beyond the limit."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"The {what} has more than {limit} bytes.", "Split the object into smaller ones.")
        self.limit = limit


class MissingIdentifier(UnreadableDataSet):
    """A UID without which nothing can be registered is missing or is none.

    Args:
        keyword: SOPInstanceUID, SOPClassUID, StudyInstanceUID or SeriesInstanceUID.
        value: what stands there instead.
    """

    def __init__(self, keyword: str, value: str) -> None:
        said = f"is no UID: {value[:80]!r}" if value else "is missing"
        super().__init__(f"{keyword} {said}.", "Correct the object at its source and send it again.")
        self.keyword = keyword
