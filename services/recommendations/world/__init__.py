"""The simulated StreamRec: users, catalogue and a closed loop whose answers are known.

May not import a stage or serve traffic. Only this package and the tests may read the hidden tastes of
its users; all other code uses `generate_world`, `WorldEnvironment` and `run_arm`.
"""
