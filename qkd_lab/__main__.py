"""`qkd-lab`, or `python -m qkd_lab`: an interruption is one line also while the command is still being imported."""

import sys


def main() -> None:
    try:
        from qkd_lab import cli
    except KeyboardInterrupt:
        sys.exit("interrupted")
    cli.main()


if __name__ == "__main__":
    main()
