"""Images: root file systems named by digest, read from hostile archives, kept read-only."""
