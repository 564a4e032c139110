"""Fuse films and other sequences of frames into a film, in memory that does not grow with length.

disk -> sequences (frames with times) -> clock (which frames belong together) -> ranges -> pictures/
     -> engine/ -> pieces (segments of a film on disk) -> one film, with the sound

`run.py` is the file to open first.
"""
