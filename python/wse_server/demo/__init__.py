"""The live demo behind `make run`: a ticker published from Python, and a page in the browser that shows it.

Run it with `python -m wse_server.demo`; `--help` lists what can be changed.
"""
