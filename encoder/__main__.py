"""`python -m encoder`."""

from encoder.server import main

if __name__ == "__main__":
    main()
