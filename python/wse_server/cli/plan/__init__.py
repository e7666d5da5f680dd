"""`wse plan`: what a server needs for so many connections and messages.

Read `model` (what is computed from what), `advice` (what follows from it: options, limits, requests), `show`
(what is printed) and `command`. The slopes are in `plan_data.json`, which `make sizing` measures and writes.
"""
