"""`python -m gateway`."""

from gateway.launch import main

if __name__ == "__main__":
    main()
