"""How much memory and CPU so many connections take: what `make sizing` measures.

Read `points` (what is measured), `rows` (the table, from what was measured and what is computed from it),
`report` (what is written), then `server` and `clients`, the two programs of a measurement.
"""
