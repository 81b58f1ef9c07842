"""Long work in a background process: requests, events, cancel; and the same work inline."""
