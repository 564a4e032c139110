"""The Python API: what `from fnetcli import ...` provides.

Nothing here prints or handles signals; all errors are `fnetcli.errors.FnetError`.
"""
