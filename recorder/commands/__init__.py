"""One file per command: ``add(commands)`` declares it, ``run(args)`` does it
and returns the exit code."""
