"""A web page that says what is in a picture, with PyTorch's ResNet-18 and ImageNet's 1,000 labels.

    python examples/pytorch_resnet18_page.py

These are the weights that PyTorch's own tutorials load, with the preprocessing they were trained with.
"""

import sys

import whatsit

model = whatsit.load("resnet18")
whatsit.serve(model, examples=sys.argv[1:])
