"""Reading weights files of any program as data: no code of theirs ever runs."""
