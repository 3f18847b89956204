"""Data sets by name: what is known of each, getting and checking them."""
