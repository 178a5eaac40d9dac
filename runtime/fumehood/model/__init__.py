"""Frozen values that cross rooms. No I/O, and nothing imported here: the launcher imports
`model.plan`, `model.codec` and `model.outcome`, which are standard library only."""
