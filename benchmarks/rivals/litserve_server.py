"""LitServe: two workers, each with the model on one core, CPU pinning off; the body is the picture."""

import os
from typing import Annotated, Any

import litserve
from classifier import Classifier, Top
from fastapi import Body


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = Classifier(streams=1, threads=1)

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]) -> bytes:
        return request

    def predict(self, picture: bytes) -> Top:
        return self.classifier.classify(picture)

    def encode_response(self, top: Top) -> dict[str, Any]:
        return {"top": top}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=2, fast_queue=True)
    server.run(host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), log_level="error", generate_client_file=False)
