"""Runs models: recognises files, executes them, and manages the processes that do so. Uses no Django, no database."""

from pathlib import Path

PACKAGE_DIRECTORY = Path(__file__).resolve().parent
PROJECT_DIRECTORY = PACKAGE_DIRECTORY.parent
"""What a child process needs on its path to import this package."""
