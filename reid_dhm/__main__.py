"""``python -m reid_dhm``: the command ``reid-dhm``."""

from reid_dhm.cli import main

if __name__ == "__main__":
    main()
