"""The REST API: views parse, authorise, call a service, render."""
