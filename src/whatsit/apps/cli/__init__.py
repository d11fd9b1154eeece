"""The `whatsit` command.

main       the entry point: errors become one line and an exit code
training   train, demo
named_model what -m means
answers    predict, evaluate
samples    show-sample
files      show, verify
models     models, fetch
importing  import
data       split, check
page       serve
desktop    desktop
board      tensorboard
terminal   events -> a terminal or a pipe
"""
