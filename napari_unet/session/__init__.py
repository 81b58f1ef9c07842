"""The project folder: a journal of edits, snapshots, one writer, and what can be recovered."""
