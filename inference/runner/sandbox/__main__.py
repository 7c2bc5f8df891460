"""`python -m inference.runner.sandbox FOLDER`: enters the sandbox and prints the level that was reached, as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from inference.runner.sandbox import Allowed, enter
from inference.workspace import Workspace


def main() -> None:
    level = enter(Allowed.for_workspace(Workspace(Path(sys.argv[1]))))
    sys.stdout.write(json.dumps(dataclasses.asdict(level)))


if __name__ == "__main__":
    main()
