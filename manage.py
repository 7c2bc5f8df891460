#!/usr/bin/env python
"""Django's command line. Of its own for people: `serve` runs the whole portal, `import_model`, `check_gpu`."""

import os
import sys

from portal.standard_files import keep_open


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))


if __name__ == "__main__":
    try:
        keep_open()
        main()
    except KeyboardInterrupt:
        sys.exit(130)
