"""Reading texts that people write: YAML into plain values, with every trap of it refused."""
