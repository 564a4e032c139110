"""The options of all commands, a file for each panel of the help; an option is defined once.

A group (`group.OptionGroup`) holds what was given of one panel, and reads what its texts mean.
"""
