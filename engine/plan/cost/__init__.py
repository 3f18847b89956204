"""What an instruction costs: its operations and bytes, and the modelled time of them."""
