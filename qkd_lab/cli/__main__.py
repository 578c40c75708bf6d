"""`python -m qkd_lab.cli`."""

from qkd_lab.cli import main

main()
