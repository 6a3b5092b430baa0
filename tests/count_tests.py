"""Sum up what the test runs wrote down: the ten slowest tests, and one last line that counts them all.

python tests/count_tests.py FOLDER, with a JUnit XML file of each run in FOLDER
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from datetime import datetime
from pathlib import Path

SLOWEST = 10


def main(folder: Path) -> int:
    """Print the summary; 1 where a test failed or there was none."""
    suites = [
        suite for file in sorted(folder.glob("*.xml")) for suite in ElementTree.parse(file).iter("testsuite")
    ]
    cases = [case for suite in suites for case in suite.iter("testcase")]
    print(f"The {SLOWEST} slowest tests, set-up included:")
    for case in sorted(cases, key=seconds, reverse=True)[:SLOWEST]:
        print(f"  {seconds(case):6.1f} s  {case.get('classname')}::{case.get('name')}")
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    skipped = sum(1 for case in cases if case.find("skipped") is not None)
    minutes, rest = divmod(round(elapsed_s(suites)), 60)
    passed = len(cases) - failed - skipped
    print(
        f"{len(cases):,} tests: {passed:,} passed, {failed:,} failed, {skipped:,} skipped, "
        f"in {minutes} min {rest} s"
    )
    return 0 if cases and not failed else 1


def elapsed_s(suites: list[ElementTree.Element]) -> float:
    """From the first start to the last end: runs beside each other count once."""
    starts = [datetime.fromisoformat(suite.get("timestamp", "")).timestamp() for suite in suites]
    ends = [start + seconds(suite) for start, suite in zip(starts, suites, strict=True)]
    return max(ends, default=0.0) - min(starts, default=0.0)


def seconds(element: ElementTree.Element) -> float:
    """The time that a run or a test took."""
    return float(element.get("time", "0"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
