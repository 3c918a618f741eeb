"""Sinks opened with some options, the others as usual."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_sim.io.sinks.command import CommandSink
from edge_sim.io.sinks.file import FileSink
from edge_sim.io.sinks.options import CommandOptions, FileOptions, UnixSocketOptions, WebhookOptions
from edge_sim.io.sinks.unix_socket import UnixSocketSink
from edge_sim.io.sinks.webhook import WebhookSink


def file_sink(path: Path, **options: Any) -> FileSink:
    return FileSink.open(FileOptions(path=str(path), **options))


def webhook(url: str, ca_file: Path | None = None, **options: Any) -> WebhookSink:
    certificates = None if ca_file is None else str(ca_file)
    return WebhookSink.open(WebhookOptions(url=url, ca_file=certificates, **options))


def command(argv: Sequence[str], **options: Any) -> CommandSink:
    return CommandSink.open(CommandOptions(argv=tuple(argv), **options))


def unix_socket(path: Path, **options: Any) -> UnixSocketSink:
    return UnixSocketSink.open(UnixSocketOptions(path=str(path), **options))
