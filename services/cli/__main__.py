"""`python -m services.cli`: the same command without the console script."""

from services.cli.main import main

main()
