"""Stacks of pixels in, stacks of pixels out. Pure: no DICOM, no files, no bus, no event loop.

`catalogue.OPERATIONS` has every type by its name, `operation.settings` reads what a person or an event asked
for, and `Operation.run` does it.
"""
