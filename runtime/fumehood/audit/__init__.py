"""The append-only record of what happened: `record`, `segments`, `chain`, `custody`, `verify`.

Must never let an answer leave before its record is on disk, and never repair a chain in silence.
"""
