"""A pretrained network learns new classes in seconds: it stays as it is, and only a last layer is fitted.

backbone   the network as a graph, made once
features   what it sees in every picture, looked at once and kept by content
head       a last layer for that, its regularisation chosen on validation
graph      backbone and last layer as one graph
"""
