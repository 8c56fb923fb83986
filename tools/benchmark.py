"""Measure ours beside its peers: ``reid-dhm benchmark``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]])
