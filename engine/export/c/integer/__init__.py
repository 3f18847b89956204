"""The integer part of quantised networks as C."""
