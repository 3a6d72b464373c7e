"""The DICOM upper layer protocol for TCP/IP (PS3.8), without input and output: PDUs, states, and a reader."""
