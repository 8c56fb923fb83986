"""Export a model for other programs: ``reid-dhm export``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
