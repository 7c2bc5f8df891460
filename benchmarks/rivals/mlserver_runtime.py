"""MLServer: two parallel workers, each with the model on one core, CPU pinning off.

Over HTTP it accepts only V2's JSON, so the picture is in base64.
"""

from __future__ import annotations

import base64

from classifier import Classifier
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Pictures(MLModel):
    async def load(self) -> bool:
        self.classifier = Classifier(streams=1, threads=1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (text,) = payload.inputs[0].data
        top = self.classifier.classify(base64.b64decode(text))
        outputs = [
            ResponseOutput(name="index", shape=[len(top)], datatype="INT64", data=[index for index, _ in top]),
            ResponseOutput(name="score", shape=[len(top)], datatype="FP32", data=[score for _, score in top]),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
