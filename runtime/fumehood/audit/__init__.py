"""The append-only record of what happened: `keys`, `record`, `segments`, `chain`, `verify`.

Must never let an answer leave before its record is on disk, and never repair a chain in silence.
"""
