"""Front ends. Each parses, calls, and shows; none decides anything about pictures.

presenter  what the graphical front ends show, without any widget
cli        the commands
web        the page (the only folder that imports gradio)
"""
