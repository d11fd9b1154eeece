"""Transfer learning with VGG16 on one's own phone photos, from splitting folders to plotted predictions.

python examples/beer_or_wings.py PHOTOS      a folder with one folder of photos per class, such as beer/ and wings/
"""

import sys

import whatsit

photos = sys.argv[1]
pairs = [option.split("=") for option in sys.argv[2:]]  # for instance framework=keras epochs=2
options = {name: int(value) if value.isdigit() else value for name, value in pairs}

parts = whatsit.split(photos, "parted", val=0.2, test=0.2)
print({part: len(parts.part(part)) for part in ("train", "validation", "test")})

trained = whatsit.train("parted", recipe="tutorial_vgg16", out="runs/beer_or_wings", **options)
print(f"Right on {trained.report.accuracy:.0%} of {trained.report.n} photos it had never seen")
print(f"With 95 % confidence between {trained.report.interval.low:.0%} and {trained.report.interval.high:.0%}")

classifier = whatsit.load(trained.model)
classifier.plot("parted").savefig("predictions.png")
