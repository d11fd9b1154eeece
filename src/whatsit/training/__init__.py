"""fit(data, recipe, ...) -> a fitted network.

engine        the contract that every training engine fulfils
pictures      samples -> one array with the network's geometry
torch_engine  PyTorch and timm
"""
