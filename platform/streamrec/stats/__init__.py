"""Pure arithmetic: arrays in, typed result out.

What may not go in: I/O, data frames, vendors, clocks.
"""
