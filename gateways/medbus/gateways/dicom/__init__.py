"""DICOM at the edge: from encoded data sets to events, and the network side."""
