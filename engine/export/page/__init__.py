"""A network as one web page that needs nothing else: it draws, takes pictures, and runs the network in the browser."""
