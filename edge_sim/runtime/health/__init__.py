"""Health of a running device: status board, pages, metrics and the HTTP server."""
