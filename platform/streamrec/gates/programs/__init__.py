"""What runs inside the isolation: it loads what a spoke wrote and writes down what that answered.

What may not go in: any judgement. Whatever these programs return was said by a process that is not trusted.
"""
