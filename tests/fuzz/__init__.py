"""Coverage-guided fuzzing of the parser, the framer and the engine with atheris (libFuzzer): `make fuzz SECONDS=60`.

`target.py` runs one input, `check.py` judges what left, `seeds.py` writes what the fuzzer begins with, `__main__.py`
runs it all. `corpus/` holds inputs that reached code no seed reaches.
"""
