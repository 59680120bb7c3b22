"""`python -m ccl_exporter`."""

from ccl_exporter.cli.main import main

main()
