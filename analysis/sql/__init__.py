"""SQL over a workspace: views, ready queries, the shell, and tables as text."""
