"""What can be done with the registry: one verb a file. Views, admin and commands call the same functions."""
