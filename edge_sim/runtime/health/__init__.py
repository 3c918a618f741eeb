"""How a running device is asked how it is: status board, pages, metrics and the HTTP server."""
