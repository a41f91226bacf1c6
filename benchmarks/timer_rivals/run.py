"""Stores a contender's timers, or fires them for ever. The file GIVEN says where the servers are.

GIVEN=given.json python run.py NAME store LOT [LOT ...]
GIVEN=given.json python run.py NAME work
"""

import importlib
import sys

getattr(importlib.import_module(sys.argv[1]), sys.argv[2])()
