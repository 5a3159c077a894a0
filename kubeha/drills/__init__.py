"""Drills: what can be broken, what may follow from it, and the verdict on what was seen. Pure.

`catalogue` says what is expected of each fault, `timeline` makes figures of what was recorded,
`verdict` compares the two, `result` puts trials together. Nothing here breaks or measures anything.
"""
