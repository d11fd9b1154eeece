"""A window that says what is in a picture: the ten best of ImageNet's 1,000 labels, by ResNet-50 or MobileNetV2.

    python examples/desktop_top10.py [resnet50 | mobilenet_v2] [PICTURE]

Choose a picture with the button, and go on through its folder with the arrow keys. The other network, and any other
model, can be chosen at the top right.
"""

import sys

from whatsit.apps.desktop import open_window

network, picture = (*sys.argv[1:], None, None)[:2]
open_window(network or "resnet50", picture)
