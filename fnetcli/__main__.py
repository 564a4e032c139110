"""`python -m fnetcli` is `fnet`."""

from fnetcli.cli.app import app

if __name__ == "__main__":
    app(prog_name="fnet")
