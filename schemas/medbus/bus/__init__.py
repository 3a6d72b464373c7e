"""The bus client: all that talks to Kafka for gateways, projections, processors and downstream consumers."""

from medbus.bus.client import Bus, Start, Subscription
from medbus.bus.record import Partition, Position, Record, Undecodable

__all__ = ["Bus", "Partition", "Position", "Record", "Start", "Subscription", "Undecodable"]
