"""Names of the django-q clusters. The settings import it, so it must not import them."""

from __future__ import annotations


def models_cluster(node: str) -> str:
    """The cluster that keeps models loaded on this node, and its queue."""
    return f"models-{node}"
