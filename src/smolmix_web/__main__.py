"""``python -m smolmix_web``: the command line."""

from smolmix_web.cli.main import main

raise SystemExit(main())
