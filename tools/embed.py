"""Embed a folder of images: ``reid-dhm embed``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["embed", *sys.argv[1:]])
