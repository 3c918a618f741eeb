"""Beyond one device: signed packs of references, and the collector of a site."""
