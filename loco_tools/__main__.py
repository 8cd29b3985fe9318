"""`python -m loco_tools` is the same as `loco-tools`."""

from loco_tools.cli import main

main()
