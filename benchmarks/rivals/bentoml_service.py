"""BentoML: two workers, each with the model on one core, CPU pinning off; the body is the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType
from classifier import Classifier


@bentoml.service(workers=2, traffic={"timeout": 60}, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Pictures:
    def __init__(self) -> None:
        self.classifier = Classifier(streams=1, threads=1)

    @bentoml.api(route="/classify")
    def classify(self, picture: Annotated[Path, ContentType("image/jpeg")], /) -> dict[str, Any]:
        return {"top": self.classifier.classify(picture.read_bytes())}
