"""The simulated StreamRec: users, catalogue and a closed loop whose answers are known.

May not import a stage or serve traffic. Nothing but this package and the tests may read its truth: everybody
else uses `generate_world`, `WorldEnvironment` and `run_arm`.
"""
