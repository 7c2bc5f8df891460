from __future__ import annotations

from typing import ClassVar

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference.errors import NotFound
from models_app.api import schema
from models_app.api.shapes import job_json, node_json, version_json
from models_app.api.views.base import PortalView
from models_app.choices import InstanceState
from models_app.models import Job, Node
from models_app.rights import VIEW
from models_app.services import find, nodes


class RootView(PortalView):
    """Where to begin."""

    permissions: ClassVar = {"GET": VIEW}

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        names = ("api-models", "api-status", "api-token", "schema", "api-docs")
        return Response({name.removeprefix("api-"): request.build_absolute_uri(reverse(name)) for name in names})


class StatusView(PortalView):
    """The nodes and what is loaded."""

    permissions: ClassVar = {"GET": VIEW}

    @extend_schema(operation_id="status", responses={200: schema.Status, **schema.ERRORS})
    def get(self, request: Request) -> Response:
        loaded = find.versions().filter(instances__state=InstanceState.READY).distinct()
        return Response(
            {
                "nodes": [node_json(node, nodes.slots_free(node)) for node in Node.objects.all()],
                "loaded": [version_json(version) for version in loaded],
            }
        )


class JobView(PortalView):
    """One job and its progress."""

    permissions: ClassVar = {"GET": VIEW}
    needs_manage = True

    @extend_schema(operation_id="jobs_read", responses={200: schema.Job, **schema.ERRORS})
    def get(self, request: Request, pk: int) -> Response:
        job = Job.objects.filter(pk=pk).first()
        if job is None:
            raise NotFound(f"There is no job {pk}.")
        return Response(job_json(job))
