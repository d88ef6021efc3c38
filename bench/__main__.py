"""`python -m bench NAME …` runs the named benches; without a name it lists them."""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def main() -> int:
    wanted = sys.argv[1:]
    unknown = [name for name in wanted if name not in NAMES]
    if unknown or not wanted:
        print(f"usage: make bench ARGS='NAME …', with names out of: {', '.join(NAMES)}")
        return 2 if unknown else 0
    for name in wanted:
        sys.argv = [f"bench/{name}.py"]
        runpy.run_module(f"bench.{name}", run_name="__main__")
    return 0


sys.exit(main())
