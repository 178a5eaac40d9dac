"""What comes out of a sandbox is scanned here: detectors find, `policy` decides, `pipeline` joins.

Must never build a result from output that any detector has not seen to its end.
"""
