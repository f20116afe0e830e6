"""The habitat worker: habitat-lab's environments in an interpreter of their own.

Runs on Python 3.9 to 3.12 with habitat-lab and numpy, and imports nothing else of this project.
"""
