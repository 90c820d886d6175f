"""The commands of `cnas`, found by their place: a module here is a command of its name.

It has ``add_flags(parser)`` and ``run(given)``, which returns what is printed; where some flags depend on others,
``parse(words)`` reads the words after the command in place of the parser. The first line of its docstring is its
help in the list of commands; all of it is its own help.
"""
