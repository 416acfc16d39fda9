"""`python -m routines` is the `routines` command."""

from routines.cli import main

if __name__ == "__main__":
    main()
