"""The command line, a module for each group of commands; `ooc_app/__main__.py` puts them together."""
