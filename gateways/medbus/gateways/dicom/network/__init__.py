"""The network side on asyncio: both roles of an association, all services, no thread for any of them.

From below: `connection` moves bytes, `provider` is the upper layer service provider (PS3.8) on top of it,
`association` carries DIMSE messages (PS3.7). Above that `serving` answers peers, and `requester` asks them.
"""

from typing import Final

MAXIMUM_PDU: Final = 1024 * 1024
"""The longest P-DATA-TF that this side asks for and sends, in bytes."""

WINDOW: Final = 16
"""Operations that may be under way at once in one direction of an association, if the peer agrees."""
