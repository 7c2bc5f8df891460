"""What the OpenAPI document says of bodies and answers. Documentation only: the shapes are made in shapes.py.

Defaults and examples are what Swagger UI writes into a form beforehand. Without them it makes something up: the largest
number allowed, or the text "string".
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers as s

from inference.catalog import ENGINES
from models_app.choices import FileStatus, InstanceState, JobState, KeyScope, VersionState
from models_app.services.unload import DEFAULT_WAIT_S

ENGINE_CHOICES = ("auto", *ENGINES)


class Error(s.Serializer[Any]):
    code = s.CharField()
    detail = s.CharField()
    fields = s.DictField(child=s.ListField(child=s.CharField()), required=False)  # type: ignore[assignment]


ERRORS: dict[int, Any] = dict.fromkeys(
    (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504, 507), Error
)


class Job(s.Serializer[Any]):
    id = s.IntegerField()
    kind = s.CharField()
    state = s.ChoiceField(JobState.values)
    progress = s.IntegerField(min_value=0, max_value=100)
    detail = s.CharField()
    result = s.JSONField(allow_null=True)


class ComparisonRow(s.Serializer[Any]):
    engine = s.CharField()
    precision = s.CharField()
    device = s.CharField()
    max_abs_diff = s.FloatField(allow_null=True)
    max_rel_diff = s.FloatField(allow_null=True)
    same_winner = s.FloatField(allow_null=True)
    load_seconds = s.FloatField(allow_null=True)
    p50_ms = s.FloatField(allow_null=True)
    p99_ms = s.FloatField(allow_null=True)
    best_batch = s.IntegerField(allow_null=True)
    per_second = s.FloatField(allow_null=True)
    memory_bytes = s.IntegerField(allow_null=True)
    error = s.CharField()


class Comparison(s.Serializer[Any]):
    reference = s.CharField()
    measured_at = s.DateTimeField()
    rows = ComparisonRow(many=True)
    recommended = s.CharField()
    reason = s.CharField()


class Tensor(s.Serializer[Any]):
    name = s.CharField()
    dtype = s.CharField()
    shape = s.ListField(child=s.IntegerField(allow_null=True))
    below = s.IntegerField(required=False, help_text="Of an input that takes numbers of a vocabulary: its size")


class InstanceShape(s.Serializer[Any]):
    id = s.IntegerField()
    node = s.CharField()
    device = s.CharField()
    pid = s.IntegerField(allow_null=True)
    engine = s.CharField()
    precision = s.CharField()
    state = s.ChoiceField(InstanceState.values)
    memory_bytes = s.IntegerField(allow_null=True)
    device_memory_bytes = s.IntegerField(allow_null=True)
    device_memory_estimated = s.BooleanField()
    loaded_at = s.DateTimeField(allow_null=True)
    load_seconds = s.FloatField(allow_null=True)
    requests = s.IntegerField()
    errors = s.IntegerField()  # type: ignore[assignment]
    sandbox = s.ChoiceField(["full", "partial", "none"], allow_null=True)


class Version(s.Serializer[Any]):
    model = s.CharField()
    version = s.IntegerField()
    format = s.CharField()
    engine = s.CharField()
    engine_selected = s.CharField()
    engine_reason = s.CharField()
    size_bytes = s.IntegerField()
    sha256 = s.CharField()
    created_at = s.DateTimeField()
    status = s.ChoiceField(FileStatus.values)
    status_detail = s.CharField()
    state = s.ChoiceField(VersionState.values)
    state_detail = s.CharField()
    inputs = Tensor(many=True)
    outputs = Tensor(many=True)
    labels = s.ListField(child=s.CharField())
    preprocessing = s.DictField()
    postprocessing = s.DictField()
    options = s.DictField()
    jobs = Job(many=True)
    instances = InstanceShape(many=True)


class Model(s.Serializer[Any]):
    name = s.CharField()
    description = s.CharField()
    owner = s.CharField(allow_null=True)
    created_at = s.DateTimeField()
    versions = Version(many=True)


class ModelPage(s.Serializer[Any]):
    count = s.IntegerField()
    next = s.CharField(allow_null=True)
    previous = s.CharField(allow_null=True)
    results = Model(many=True)


class UseForm(s.Serializer[Any]):
    labels = s.CharField(default="", allow_blank=True, help_text="A JSON list, or one label a line; also as a file.")
    preprocessing = s.CharField(default="", allow_blank=True, help_text="JSON")
    postprocessing = s.CharField(default="", allow_blank=True, help_text="JSON")
    options = s.CharField(default="", allow_blank=True, help_text="JSON")
    engine = s.ChoiceField(ENGINE_CHOICES, default="auto")


class NewVersion(UseForm):
    file = s.FileField(help_text="One file; what is a folder comes as .zip, .tar or .tar.gz.")


class NewModel(NewVersion):
    name = s.SlugField(max_length=100)
    description = s.CharField(default="", allow_blank=True)


class ModelChange(s.Serializer[Any]):
    description = s.CharField(required=False, allow_blank=True)


@extend_schema_serializer(
    examples=[OpenApiExample("Two labels", value={"labels": ["cat", "dog"], "preprocessing": {"preset": "unit"}})]
)
class VersionChange(s.Serializer[Any]):
    labels = s.ListField(child=s.CharField(), required=False)
    preprocessing = s.DictField(required=False)
    postprocessing = s.DictField(required=False)
    options = s.DictField(required=False)
    engine = s.ChoiceField(ENGINE_CHOICES, required=False)


class LoadWish(s.Serializer[Any]):
    wait = s.FloatField(default=0, min_value=0, max_value=120)
    instances = s.IntegerField(default=1, min_value=1, max_value=64)


class UnloadWish(s.Serializer[Any]):
    wait = s.FloatField(default=DEFAULT_WAIT_S, min_value=0, max_value=120)


class Receipt(s.Serializer[Any]):
    model = s.CharField()
    version = s.IntegerField(allow_null=True)
    state = s.CharField()
    pids = s.ListField(child=s.IntegerField())
    process_exited = s.BooleanField()
    seconds = s.FloatField()
    memory_freed_bytes = s.IntegerField()
    device_memory_freed_bytes = s.IntegerField(allow_null=True)
    drained_requests = s.IntegerField()
    failed_requests = s.IntegerField()


class PicturesForm(s.Serializer[Any]):
    image = s.ListField(child=s.FileField())


@extend_schema_serializer(
    examples=[
        OpenApiExample("Tensors", value={"instances": [[0.1, 0.2, 0.3]]}),
        OpenApiExample("Pictures", value={"images": ["iVBORw0KGgo…"]}),
    ]
)
class PredictBody(s.Serializer[Any]):
    images = s.ListField(child=s.CharField(), required=False, help_text="Encoded pictures in base64")
    instances = s.ListField(required=False, help_text='Examples; texts as such or as {"b64": …}')
    inputs = s.DictField(required=False, help_text="Tensors by name, batch included")


class Score(s.Serializer[Any]):
    index = s.IntegerField()
    label = s.CharField()  # type: ignore[assignment]
    score = s.JSONField(help_text='A number; "NaN", "Infinity" and "-Infinity" as texts')


class Output(s.Serializer[Any]):
    name = s.CharField()
    dtype = s.CharField()
    shape = s.ListField(child=s.IntegerField())
    data = s.JSONField(help_text="Nested lists of this shape")  # type: ignore[assignment]


class OneAnswer(s.Serializer[Any]):
    image = s.JSONField(required=False, help_text="The name of its file, or which it was, from 0")
    top = Score(many=True, required=False)
    outputs = Output(many=True, required=False)
    note = s.CharField(required=False)


class Timing(s.Serializer[Any]):
    queue = s.FloatField()
    decode = s.FloatField()
    inference = s.FloatField()
    total = s.FloatField()


class Prediction(s.Serializer[Any]):
    model = s.CharField()
    version = s.IntegerField()
    engine = s.CharField()
    predictions = OneAnswer(many=True)
    timing_ms = Timing()


class Event(s.Serializer[Any]):
    at = s.DateTimeField()
    before = s.CharField()
    after = s.CharField()
    reason = s.CharField()
    by = s.CharField()


class History(s.Serializer[Any]):
    results = Event(many=True)


class Log(s.Serializer[Any]):
    lines = s.ListField(child=s.CharField())


class Trust(s.Serializer[Any]):
    reason = s.CharField()


class DeviceShape(s.Serializer[Any]):
    id = s.CharField()
    kind = s.ChoiceField(["cpu", "gpu"])
    memory_bytes = s.IntegerField()
    free_bytes = s.IntegerField()


class NodeShape(s.Serializer[Any]):
    name = s.CharField()
    slots = s.IntegerField()
    slots_free = s.IntegerField()
    devices = DeviceShape(many=True)
    last_seen = s.DateTimeField(allow_null=True)


class Status(s.Serializer[Any]):
    nodes = NodeShape(many=True)
    loaded = Version(many=True)


class TokenWish(s.Serializer[Any]):
    username = s.CharField()
    password = s.CharField()
    name = s.CharField(required=False, max_length=100)
    scope = s.ChoiceField(KeyScope.values, default=KeyScope.PREDICT)


class Token(s.Serializer[Any]):
    token = s.CharField()
    name = s.CharField()
    scope = s.ChoiceField(KeyScope.values)
    expires_at = s.DateTimeField(allow_null=True)


class OriginName(s.Serializer[Any]):
    model_id = s.SlugField(max_length=100)


class OriginModel(OriginName, UseForm):
    file = s.FileField(required=False)
    model_path = s.CharField(default="", allow_blank=True, help_text="Inside PORTAL_IMPORT_DIR")


@extend_schema_serializer(
    examples=[OpenApiExample("From the import folder", value={"model_id": "cats", "model_path": "cats.keras"})]
)
class OriginModelBody(OriginName, VersionChange):
    model_path = s.CharField(help_text="Inside PORTAL_IMPORT_DIR")


class OriginImages(OriginName):
    image = s.ListField(child=s.FileField())
