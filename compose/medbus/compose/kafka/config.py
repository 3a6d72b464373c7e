"""What Kafka and the Java machine are told at the start. Pure: settings in, text out."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from medbus.compose.kafka.layout import Layout
from medbus.compose.kafka.ports import LOOPBACK, Ports
from medbus.compose.kafka.settings import BrokerSettings
from medbus.compose.kafka.storage import NODE_ID

INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1

# These would change the Java machine behind our back.
JAVA_VARIABLES = frozenset({"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"})


def server_properties(settings: BrokerSettings, layout: Layout, ports: Ports) -> dict[str, str]:
    """Kafka's broker configuration: one node that keeps everything and starts fast."""
    return {
        "process.roles": "broker,controller",
        "node.id": str(NODE_ID),
        # A fixed quorum: after a change of port the new address is simply in the configuration.
        "controller.quorum.voters": f"{NODE_ID}@{LOOPBACK}:{ports.controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENTS",
        "listeners": f"CLIENTS://{address(settings.host, ports.broker)},CONTROLLER://{LOOPBACK}:{ports.controller}",
        "advertised.listeners": f"CLIENTS://{address(settings.client_host, ports.broker)}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(layout.data),
        # The log is the truth: nothing is ever deleted by age or size, and time is the time of arrival.
        "log.retention.ms": "-1",
        "log.retention.bytes": "-1",
        "log.message.timestamp.type": "LogAppendTime",
        "log.flush.interval.messages": "1" if settings.fsync else str(LONG_MAX),
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        # A service that was off for weeks goes on where it was, instead of finding its positions expired.
        "offsets.retention.minutes": str(INT_MAX),
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # After a kill the controller refuses the new broker until the session of the dead one is over, 9 s by
        # default. Here the two are one process: there is no network between them to be patient with.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        # An idle broker else writes to the disk twice a second.
        "metadata.max.idle.interval.ms": "5000",
        # One small machine, few clients.
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "2",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        **settings.properties,
    }


def log4j2_properties(layout: Layout) -> dict[str, str]:
    """Configuration of the broker's log: at most 60 MB in all."""
    return {
        "status": "warn",
        # Kafka ends in a shutdown hook itself; what it says there is to be logged.
        "shutdownHook": "disable",
        "appender.file.type": "RollingFile",
        "appender.file.name": "file",
        "appender.file.fileName": str(layout.server_log),
        "appender.file.filePattern": f"{layout.server_log}.%i",
        "appender.file.layout.type": "PatternLayout",
        "appender.file.layout.pattern": "%d{yyyy-MM-dd'T'HH:mm:ss.SSS'Z'}{UTC} %p %c{1}: %m%n",
        "appender.file.policies.type": "Policies",
        "appender.file.policies.size.type": "SizeBasedTriggeringPolicy",
        "appender.file.policies.size.size": "10MB",
        "appender.file.strategy.type": "DefaultRolloverStrategy",
        "appender.file.strategy.max": "5",
        # Three hundred lines of settings at every start; they are in server.properties.
        "logger.settings.name": "org.apache.kafka.common.config.AbstractConfig",
        "logger.settings.level": "warn",
        "rootLogger.level": "info",
        "rootLogger.appenderRef.file.ref": "file",
    }


def java_options(layout: Layout, jars: Iterable[Path], heap_mb: int) -> list[str]:
    """Options of the Java machine.

    The first compiler alone (``TieredStopAtLevel=1``) starts in 1.3 s instead of 1.6 s, with a third less
    processor time and 50 MB less memory, and this load is no slower for it. An ahead-of-time cache (JDK 25)
    would save another 0.6 s of each start, but takes 5 s and 67 MB to make, warns about its own content, and
    is bound to the very files: not used.
    """
    return [
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        f"-XX:ErrorFile={layout.logs}/hs_err_%p.log",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={layout.tmp}",
        f"-Dlog4j2.configurationFile={layout.log4j2_properties}",
        "-cp",
        os.pathsep.join(map(str, jars)),
    ]


def java_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for the Java machine: ours, less what would change it, and with file names in UTF-8."""
    kept = {name: value for name, value in environment.items() if name not in JAVA_VARIABLES}
    return {**kept, "LC_ALL": "C.UTF-8"}


def render_properties(entries: Mapping[str, str]) -> str:
    """Java's ``.properties`` format, in ASCII."""
    return "".join(f"{key}={escape_property(value)}\n" for key, value in entries.items())


def escape_property(value: str) -> str:
    """A value as ``java.util.Properties`` reads it: in ASCII, with backslash and leading blank escaped."""
    text = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    if text.startswith(" "):
        text = f"\\{text}"
    return "".join(character if character.isascii() else utf16_escapes(character) for character in text)


def utf16_escapes(character: str) -> str:
    """``\\uXXXX`` for each UTF-16 unit of a character."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def render_argfile(options: Iterable[str]) -> str:
    """Java's ``@file`` format: one quoted option a line."""
    quoted = (option.replace("\\", "\\\\").replace('"', '\\"') for option in options)
    return "".join(f'"{option}"\n' for option in quoted)


def address(host: str, port: int) -> str:
    """``host:port``, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
