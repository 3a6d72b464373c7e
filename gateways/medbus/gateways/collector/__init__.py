"""Collects images from senders that agreed to it: asks on a schedule, and registers what is new, once."""

from medbus.gateways.collector.collector import run, run_once
from medbus.gateways.collector.looked import Looked
from medbus.gateways.collector.settings import Settings

__all__ = ["Looked", "Settings", "run", "run_once"]
