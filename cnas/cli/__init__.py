"""The command line: the `cnas` command, one module a command below it, and the flags of a recipe."""
