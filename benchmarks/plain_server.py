"""The server that people write from a tutorial, for benchmarks/serving.py: FastAPI, Pillow, NumPy, ONNX Runtime.

    python benchmarks/plain_server.py FOLDER 8000

FOLDER holds plain.onnx, a network as `torch.onnx.export` gives it (float32 [N, 3, height, width]), and plain.json: the
labels, the mean and standard deviation of its input, and its geometry.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image, ImageOps

FOLDER, PORT = Path(sys.argv[1]), int(sys.argv[2])
facts = json.loads((FOLDER / "plain.json").read_text())
mean, std = (np.array(facts[name], np.float32) for name in ("mean", "std"))
height, width = facts["size"]
resample = Image.Resampling[facts["interpolation"].upper()]
session = onnxruntime.InferenceSession(FOLDER / "plain.onnx", providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
app = FastAPI()


def shrink(image: Image.Image) -> Image.Image:
    if facts["fit"] == "squash":
        return image.resize((width, height), resample)
    shorter = max(facts["resize_shorter"] or 0, height, width)
    if image.width <= image.height:
        size = (shorter, int(shorter * image.height / image.width))
    else:
        size = (int(shorter * image.width / image.height), shorter)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.resize(size, resample).crop((left, top, left + width, top + height))


@app.post("/predict")
def predict(file: UploadFile) -> dict[str, list[dict[str, str | float]]]:
    image = shrink(ImageOps.exif_transpose(Image.open(file.file)).convert("RGB"))
    values = (np.asarray(image, np.float32) / 255 - mean) / std
    (probabilities,) = session.run(["probabilities"], {name: values.transpose(2, 0, 1)[None]})
    best = probabilities[0].argsort()[::-1][:5]
    return {"top": [{"label": facts["labels"][i], "score": float(probabilities[0][i])} for i in best]}


uvicorn.run(app, port=PORT, log_level="warning")
