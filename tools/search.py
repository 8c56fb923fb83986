"""Search a gallery for a person: ``reid-dhm search``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["search", *sys.argv[1:]])
