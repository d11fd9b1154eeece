"""Models from elsewhere, made into model files.

brought       what every importer gives: a graph, the original to compare it with, labels and geometry
said          what the user said about the model, and errors that ask by name for what is missing
extras        what each importer needs to be installed
choosing      which importer reads a file
finish        parity with the original on pictures, golden pictures, the file
calibrating   temperature and threshold from labelled pictures
wrapping      the nodes around a foreign graph: scaling, layout, softmax, embedding, temperature
labels        names of classes from a file
archives      zip files within limits
keras_files, tflite, onnx_files, pytorch (and exported_programs), teachable_machine, hugging_face: one format each

Nothing in a file is ever executed: no pickle beyond weights-only, no Keras layer that holds code.
"""

from __future__ import annotations

from whatsit.importers.brought import Brought

__all__ = ["Brought"]
