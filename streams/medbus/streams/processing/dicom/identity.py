"""UIDs that the same request has every time."""

import json
from collections.abc import Collection, Mapping, Sequence
from uuid import NAMESPACE_OID, uuid5


def result_uid(
    inputs: Sequence[Collection[str]],
    *,
    operation: str,
    settings: Mapping[str, str],
    version: str,
    part: str,
) -> str:
    """A UID for something that comes of a request: the same for the same request, another for any other.

    Derived from a UUID (PS3.5 B.2) of version 5.

    Args:
        inputs: for each input the digests of its objects; their order makes no difference, that of the inputs
            does.
        operation: the name of the processing type.
        settings: all of them, written in the one way that `Operation.written` has, and how the input was read
            (colour, resampling).
        version: of the operation and of the software; another one leads to other UIDs.
        part: what it is for: "series", "1", "2".
    """
    name = json.dumps(
        ["medbus/result", [sorted(set(each)) for each in inputs], operation, dict(settings), version, part],
        sort_keys=True,
        separators=(",", ":"),
    )
    return f"2.25.{uuid5(NAMESPACE_OID, name).int}"
