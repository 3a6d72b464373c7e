"""`python -m medbus.compose.cli`: the `medbus` command where no script is on the path."""

from medbus.compose.cli.app import main

main()
