"""What peers may demand of the gateway at most, whatever carries their messages."""

from typing import Final

MAXIMUM_ASSOCIATIONS: Final = 128

CONNECTIONS_PER_ASSOCIATION: Final = 4
"""At once, for each association that may stand: silent ones are many only when somebody means harm."""

ACSE_TIMEOUT: Final = 5.0
"""Seconds for a peer to say what it wants: silent sockets must not stay for long."""

OPENING_TIMEOUT: Final = 30.0
"""Seconds for the service to decide about an association. The grants have their own, shorter limit; this one
is for what nobody thought of."""

ABORT_SECONDS: Final = 3.0
"""Seconds for associations that were aborted to end."""

LONGEST_COMMAND: Final = 64 * 1024
LONGEST_IDENTIFIER: Final = 16 * 1024 * 1024
"""Bytes: a longer one is no command set, or data set but an image's, of a peer that means well."""
