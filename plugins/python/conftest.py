"""Lets the tests find the SDK and the scripts: `pytest plugins/python`."""

import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parents[1] / "plugin-sdk/python/src"), *(str(it) for it in HERE.iterdir() if it.is_dir())]
