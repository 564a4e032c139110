"""Damaged files, by the thousand: `python -m tests.fuzz --count N`, or `make fuzz`.

Seeds of every format are mutated and fused as `fnet fuse` fuses them, in child processes with
limits of time and memory. A file may be fused or refused in one line; all else is a fault. Faults
are made smaller and kept as files: put them into tests/fuzz/found, and the tests fuse them from
then on.
"""
