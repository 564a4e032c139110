"""Snapshots of all that the commands write: proof that a change of the code changed nothing else.

    python -m bench.snapshot make OLD --data DATA      # with the code as it was
    python -m bench.snapshot make NEW --data DATA      # with the code as it is
    python -m bench.snapshot compare OLD NEW           # every difference; exit code 1 if any
    python -m bench.snapshot resume OLD                # new code must skip what old code has made

`make` runs a fixed list of commands, each as a process of its own: `python -m fnetcli` with the
fnetcli that this process would import, so the working folder and PYTHONPATH choose the code. No
module of fnetcli is imported here, its command line is the only door.

A snapshot folder holds `inputs/` (drawn pictures and copies of the data), `cases/NAME/files/` (the
folder that the case ran in), `cases/NAME/N.stdout` and `N.stderr`, and `snapshot.json`: the code,
commands, exit codes, and SHA-256 of all files.

DATA is laid out as `visir/val/{vis,ir}`, `visnir/val/{vis,nir}`, `medical/ct_mri/val/{ct,mri}`,
`medical/pet_mri/...`, `medical/spect_mri/...`, `volumes/STS_002/{CT,MR_T1,PET}`. What is not there
is left out, and that is said; without --data only drawn inputs and the repository's examples run.
"""
