"""Front ends. Each parses, calls, and shows; none decides anything about pictures.

presenter  what the graphical front ends show, without any widget
text       names and labels as they can be shown
cli        the commands
web        the page (the only folder that imports gradio)
desktop    the window (the only folder that imports tkinter)
"""
