"""`python -m rlivs.cli`, where the `rlivs` script is not on the path."""

from rlivs.cli import main

main()
