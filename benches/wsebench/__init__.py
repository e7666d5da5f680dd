"""The benchmark: this build, the earlier release and the floor, side by side on two cores.

In reading order: `model` (what a workload, a figure and a sample are), `table` (all rows and what they
must reach), `fanout`, `compressing`, `matching`, `attacked`, `crowd`, `inbound`, `connecting`, `resting` (how
each is measured), `bench` (servers and clients of one sample), `process`, `proc`, `tokens` (what these
need), `sides` (which servers there are), `rounds` (the interleaved run), `verdict` (medians, ratios,
reached or not), `report` (the table and the files).
"""
