"""Names of the django-q clusters. The settings are made with it, so it needs none."""

from __future__ import annotations


def models_cluster(node: str) -> str:
    """The cluster that keeps models loaded on this node, and its queue."""
    return f"models-{node}"
