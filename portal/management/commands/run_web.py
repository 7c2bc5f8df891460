"""`manage.py run_web`: one process of the web server. `serve` starts it, on the socket that it holds."""

from __future__ import annotations

import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.web import answer_requests


class Command(BaseCommand):
    help = "Answer requests on a bound socket that was inherited. `serve` starts it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("descriptor", type=int, help="number of the socket")
        parser.add_argument("--grace", type=int, default=15, help="seconds for requests under way at the end")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            listener = socket.socket(fileno=options["descriptor"])
        except OSError as error:
            self.stderr.write(
                f"{options['descriptor']} is no socket ({error.strerror}): `serve` starts this, with its own."
            )
            raise SystemExit(2) from None
        answer_requests(listener, options["grace"])
