"""Runs models: recognises files, executes them, and manages the processes that do so. Uses no Django, no database."""
