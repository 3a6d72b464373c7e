"""The UIDs that medbus makes itself (PS3.5 B.2: 2.25 and a UUID as a decimal number)."""

from typing import Final
from uuid import UUID

MEDBUS: Final = UUID("7c1f9a52-8f0e-4d0b-9a35-3f6c52d1e8b4")
"""What every fixed UID of medbus derives from."""


def uid_of(uuid: UUID) -> str:
    """The UID of a UUID."""
    return f"2.25.{uuid.int}"


IMPLEMENTATION_CLASS_UID: Final = uid_of(MEDBUS)
"""Implementation Class UID, in associations and in files (PS3.7 D.3.3.2, PS3.10 7.1)."""

IMPLEMENTATION_VERSION_NAME: Final = "MEDBUS"
"""Implementation Version Name."""
