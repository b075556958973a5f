"""How the pictures of the help pages are drawn; `draw_help.py` says which."""
