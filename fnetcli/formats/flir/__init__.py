"""Files of FLIR cameras: thermal counts, a visible picture and how they are aligned.

`chunks` finds a block in the segments of a JPEG file, `block` reads its directory, `counts`,
`temperatures`, `picture` and `alignment` read one kind of record each. `reader` combines them.
"""

from __future__ import annotations

from fnetcli.formats.flir.reader import FFF, JPEG, clock_of_frames, count_frames, holds_counts

__all__ = ["FFF", "JPEG", "clock_of_frames", "count_frames", "holds_counts"]
