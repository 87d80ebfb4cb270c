"""``python -m particle_nb`` is the command ``particle-nb``."""

from particle_nb.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
