"""`wse bench`: what a server does on this machine, measured with the load generator of the native module.

Read `command` (what can be asked for), `modes` (what is measured), `session` (a load, watched), `target`
(against which server), `machine` (what the system says), `report` and `plot` (what is shown).
"""
