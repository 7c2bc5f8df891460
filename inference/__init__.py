"""Runs models: what a file is, how it is executed, in which process. Knows no Django and no database."""
