"""The options of all commands: one file per panel of the help, each option defined once.

A group (`group.OptionGroup`) holds the values given for one panel and converts their text.
"""
