"""Train a model as a configuration says: ``reid-dhm train``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
