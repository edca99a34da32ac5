"""`python -m worker` is `attribute-worker`."""

from worker.cli import main

if __name__ == "__main__":
    main()
