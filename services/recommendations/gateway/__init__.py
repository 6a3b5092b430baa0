"""The HTTP edge: validation, the path through the stages, the fallback ladder, the event log.

What may not go in: training, models, anything that a stage could answer itself.
"""
