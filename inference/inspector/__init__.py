"""A process that reads one uploaded file inside the sandbox and ends. `inference.checking` starts it and watches it."""
