"""Runs rdma-core's Python tests and writes one line of JSON for each into a file.

Usage: run.py FOLDER RESULTS      FOLDER holds `tests`, the folder of rdma-core

It runs by itself, too, to learn what another device skips: on a machine with that device alone.
"""
import json
import os
import sys
import time
import unittest


class Lines(unittest.TestResult):
    """Writes a line as each test ends."""

    def __init__(self, stream):
        super().__init__()
        self.stream = stream
        self.process = os.getpid()

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def put(self, test, outcome, text=''):
        # Some tests fork, and a child that fails must not speak for its parent.
        if os.getpid() != self.process:
            return
        seconds = time.monotonic() - getattr(self, 'started', time.monotonic())
        line = {'test': test.id(), 'outcome': outcome, 'text': text, 'seconds': round(seconds, 3)}
        self.stream.write(json.dumps(line) + '\n')
        self.stream.flush()

    def addSuccess(self, test):
        super().addSuccess(test)
        self.put(test, 'passed')

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.put(test, 'skipped', reason)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.put(test, 'failed', self.failures[-1][1])

    def addError(self, test, error):
        super().addError(test, error)
        self.put(test, 'failed', self.errors[-1][1])


def main():
    folder, results = sys.argv[1:]
    del sys.argv[1:]
    # The tests import each other as `tests.base` and their options as `args_parser`.
    sys.path[:0] = [os.path.join(folder, 'tests'), folder]
    from args_parser import parser
    parser.parse_args()
    import tests
    suite = unittest.defaultTestLoader.loadTestsFromModule(tests)
    with open(results, 'w') as stream:
        suite.run(Lines(stream))


if __name__ == '__main__':
    main()
