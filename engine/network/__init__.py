"""Networks: their arrays, their programs, how they are written, saved and loaded."""
