"""Calls of KServe's InferenceRESTClient, run by the Python that has it: kserve_calls.py URL KEY IMAGE

Prints one JSON object; the test looks at it. Imports nothing of the portal.
"""

import asyncio
import base64
import json
import sys
from pathlib import Path

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


def request(*inputs):
    return InferRequest(model_name="seen", infer_inputs=list(inputs))


async def v2(url, key, image, pixels):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    headers = {"Authorization": key}
    told = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, "seen", headers=headers),
        "nobody": await client.is_model_ready(url, "nobody", headers=headers),
    }
    for name, is_binary in (("json", False), ("binary", True)):
        values = InferInput("pixels", list(pixels.shape), "FP32")
        values.set_data_from_numpy(pixels, binary_data=is_binary)
        answer = await client.infer(url, request(values), model_name="seen", headers=dict(headers))
        told[name] = answer.outputs[0].as_numpy().tolist()
    picture = InferInput("pixels", [1], "BYTES")
    picture.set_data_from_numpy(np.array([image], dtype=np.object_), binary_data=True)
    answer = await client.infer(url, request(picture), model_name="seen", headers=dict(headers))
    told["image"] = answer.outputs[0].as_numpy().tolist()
    await client.close()
    return told


async def v1(url, key, image, pixels):
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    headers = {"Authorization": key}
    told = {
        "live": await client.is_server_live(url, headers=headers),
        "model": await client.is_model_ready(url, "seen", headers=headers),
        "rows": await client.infer(url, {"instances": pixels.tolist()}, model_name="seen", headers=headers),
        "image": await client.infer(
            url, {"instances": [{"b64": base64.b64encode(image).decode()}]}, model_name="seen", headers=headers
        ),
    }
    await client.close()
    return told


async def main(url, key, image):
    pixels = np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8, 1)
    return {"v1": await v1(url, key, image, pixels), "v2": await v2(url, key, image, pixels)}


print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes()))))
