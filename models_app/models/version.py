from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models

from inference.errors import PortalError
from inference.options import GraphEnds, Options, parse_options
from inference.postprocessing import Postprocessing, parse_postprocessing
from inference.preprocessing import ImagePlan, Preprocessing, parse_preprocessing, plan_image
from inference.signature import Signature, image_axes
from models_app.choices import LIVE, FileStatus, Remedy, VersionState, version_state
from models_app.models.registered_model import RegisteredModel

if TYPE_CHECKING:
    from models_app.models.instance import Instance


class ModelVersion(models.Model):
    """One uploaded file. The file never changes. How it is used may, while it is not loaded; its engine at any time."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    file_key = models.CharField(max_length=32, unique=True, help_text="The folder of the file; made by the portal.")
    file_name = models.CharField(max_length=255, help_text="What the user called it: a label, never a path.")
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)

    status = models.CharField(max_length=10, choices=FileStatus.choices, default=FileStatus.CHECKING)
    status_detail = models.TextField(blank=True, default="")
    remedy = models.CharField(
        max_length=6, choices=Remedy.choices, default=Remedy.UPLOAD, help_text="Where the file was rejected."
    )
    format = models.CharField(max_length=20, blank=True, default="")
    signature_json = models.JSONField(default=dict, blank=True)
    candidates_json = models.JSONField(
        default=dict, blank=True, help_text="Of a frozen graph: what its options may name as inputs and outputs."
    )
    notes = models.JSONField(default=list, blank=True, help_text="Sentences worth showing beside a good file.")

    labels = models.JSONField(default=list, blank=True)
    preprocessing_json = models.JSONField(default=dict, blank=True)
    postprocessing_json = models.JSONField(default=dict, blank=True)
    options_json = models.JSONField(default=dict, blank=True)
    engine = models.CharField(max_length=20, default="auto", help_text="As asked for: auto or a name.")
    engine_selected = models.CharField(max_length=20, blank=True, default="")
    engine_reason = models.TextField(blank=True, default="")

    trusted_by = models.CharField(max_length=150, blank=True, default="")
    trusted_at = models.DateTimeField(null=True, blank=True)
    trusted_reason = models.TextField(blank=True, default="")

    replaces_older = models.BooleanField(
        default=False, help_text="Uploaded to serve instead of what serves: loaded after its check, then those unload."
    )
    instances_wanted = models.PositiveIntegerField(default=0, help_text="The wish: 0 is unloaded.")
    last_load_seconds = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ["model__name", "-number"]
        constraints = [models.UniqueConstraint(fields=["model", "number"], name="one_version_a_number")]
        indexes = [models.Index(fields=["status"])]
        permissions = [
            ("load_modelversion", "Can load models"),
            ("unload_modelversion", "Can unload models"),
            ("predict_modelversion", "Can ask models"),
        ]
        verbose_name = "model version"

    def __str__(self) -> str:
        return f"{self.model.name} v{self.number}"

    @property
    def directory(self) -> Path:
        return settings.PORTAL_FILES_DIR / self.file_key

    @property
    def path(self) -> Path:
        return self.directory / "source"

    @property
    def signature(self) -> Signature:
        """Empty until the check has ended."""
        return Signature.from_json(self.signature_json or {"inputs": [], "outputs": []})

    @property
    def candidates(self) -> GraphEnds:
        return parse_options(self.candidates_json).graph_ends

    @property
    def preprocessing(self) -> Preprocessing:
        return parse_preprocessing(self.preprocessing_json)

    @property
    def postprocessing(self) -> Postprocessing:
        return parse_postprocessing(self.postprocessing_json)

    @property
    def options(self) -> Options:
        return parse_options(self.options_json)

    @property
    def image_plan(self) -> ImagePlan | None:
        """How pictures are prepared; None where it takes none, or where their size is still to be set."""
        inputs = self.signature.inputs
        try:
            return plan_image(self.preprocessing, inputs[0]) if len(inputs) == 1 else None
        except PortalError:
            return None

    @property
    def takes_pictures(self) -> bool:
        """True also where the preprocessing does not fit yet: a request is told what is missing."""
        inputs = self.signature.inputs
        return len(inputs) == 1 and (image_axes(inputs[0]) is not None or self.image_plan is not None)

    @property
    def precision(self) -> str:
        return str(self.options_json.get("precision") or "f32")

    @property
    def shown_instances(self) -> list[Instance]:
        """In the order they were made; uses the prefetched rows where a query fetched them."""
        return sorted(self.instances.all(), key=lambda instance: instance.pk)

    @property
    def is_in_use(self) -> bool:
        """Loaded, on its way there or back: it cannot be deleted, only its engine changed."""
        return any(instance.state in LIVE for instance in self.shown_instances)

    @property
    def state(self) -> VersionState:
        return version_state([instance.state for instance in self.shown_instances])
