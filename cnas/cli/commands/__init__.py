"""The commands of `cnas`, found by their place: a module here is a command of its name.

It has ``add_flags(parser)`` and ``run(given)``, which returns what is printed. The first line of its docstring is its
help in the list of commands; all of it is its own help.
"""
