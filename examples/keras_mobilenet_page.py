"""A web page that says what is in a picture, with Keras's MobileNetV2 and ImageNet's 1,000 labels.

    python examples/keras_mobilenet_page.py

The first start fetches the weights (14 MB) and turns them into a model file; every later one is offline and needs
neither Keras nor TensorFlow.
"""

import sys

import whatsit

model = whatsit.load("keras:MobileNetV2")
whatsit.serve(model, examples=sys.argv[1:])
