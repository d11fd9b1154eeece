"""The `whatsit` command.

main       the entry point: errors become one line and an exit code
training   train, demo
answers    predict, evaluate
files      show, verify
data       split, check
page       serve
terminal   events -> a terminal or a pipe
"""
