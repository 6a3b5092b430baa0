"""The parts of the evaluation beyond ranking metrics: cold start, exposure, distillation, index, bars.

Each section measures models that it is given and returns a typed result with its JSON. Training, the
registry, plots and the command line may not go in here: `services.recommendations.jobs.evaluation` composes.
"""
