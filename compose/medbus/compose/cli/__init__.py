"""The `medbus` command."""

from medbus.compose.cli.app import main

__all__ = ["main"]
