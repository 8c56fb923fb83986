"""Serve a gallery over HTTP: ``reid-dhm serve``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
