"""What can be done with the registry: one verb a file. REST views, admin actions and commands call the same functions."""
