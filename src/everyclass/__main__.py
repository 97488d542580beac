"""`python -m everyclass`."""

from everyclass.cli import main

if __name__ == "__main__":
    main()
