"""DICOM objects in, DICOM derived objects out: the pixels, where they lie, and what is written. Pure;
CPU-bound.

`series.arrange` says which frames make which stack, `series.fill` decodes them, `derived.derive` writes what
an operation made of them.
"""
