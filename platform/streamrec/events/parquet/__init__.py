"""The compacted part of the event log: its Parquet files, written, read, merged and removed.

What may not go in: segments, deduplication, anything that decides when to compact.
"""
