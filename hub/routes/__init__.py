"""Routes: each decodes, makes one store call, encodes."""
