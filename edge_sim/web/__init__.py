"""HTTP server of a device: the page, its JSON API, health and metrics; needs the extra `web`."""
