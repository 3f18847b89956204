"""Labels: of whole images, and maps of them, which have one for every pixel."""
