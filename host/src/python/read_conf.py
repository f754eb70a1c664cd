"""Reads `conf` of a customization from the sources on standard input; knows no file. Answers with a line of JSON."""

import importlib.abc
import importlib.util
import json
import sys
import traceback

given = json.load(sys.stdin)
sources = given["sources"]


class Sources(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        base = fullname.replace(".", "/")
        for file, is_package in ((base + "/__init__.py", True), (base + ".py", False)):
            if file in sources:
                spec = importlib.util.spec_from_loader(fullname, self, origin=file, is_package=is_package)
                spec.has_location = True
                return spec
        return None

    def exec_module(self, module):
        file = module.__spec__.origin
        exec(compile(sources[file], file, "exec"), vars(module))


sys.meta_path.insert(0, Sources())
answers, sys.stdout = sys.stdout, sys.stderr


def answer(**said):
    print(json.dumps(said), file=answers)


def location(error):
    own = lambda file: file in sources and not file.startswith("piimg/")  # noqa: E731
    frames = [it for it in traceback.extract_tb(error.__traceback__) if own(it.filename)]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"


from piimg import _conf  # noqa: E402

try:
    answer(conf=_conf.read(importlib.import_module(given["name"])))
except _conf.ConfError as wrong:
    answer(wrong=str(wrong))
except BaseException as error:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    answer(failed=f"{type(error).__name__}: {text} ({location(error)})")
