"""Image processing: requests in, derived images out.

`asked` reads what a person or an event asks for. `pixels` has the types: stacks in, stacks out, pure. `dicom`
makes stacks of DICOM objects, and derived objects of what came out; pure, too. `planning` splits requests
into work items and sees when all are done; `serving` does them.
"""
