"""The views of `/api/`, one file a resource."""
