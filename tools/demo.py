"""Show the whole pipeline on synthetic people: ``reid-dhm demo``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
