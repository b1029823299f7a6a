/** How the ends of ranks add up to the end of a job. */
import t from 'tap';

import { Verdict, type RankEnd } from '../../lib/job/verdict.js';

const exited = (exitCode: number, leftUnfinalized = false): RankEnd => ({
  kind: 'exited',
  exitCode,
  signal: null,
  leftUnfinalized,
});

const killed = (signal: NodeJS.Signals): RankEnd => ({
  kind: 'exited',
  exitCode: null,
  signal,
  leftUnfinalized: false,
});

t.test('ranks that exit with 0 make no failure', async (t) => {
  const verdict = new Verdict();
  t.equal(verdict.rankEnded(0, exited(0), false), undefined);
  t.equal(verdict.failure, undefined);
  t.equal(verdict.exitCode, 0);
});

t.test('the first failure stays the failure and the highest status counts', async (t) => {
  const verdict = new Verdict();
  verdict.rankEnded(1, exited(3), false);
  verdict.rankEnded(0, exited(7), false);
  verdict.rankEnded(2, exited(5), false);
  t.match(verdict.failure, { code: 'ERR_RANK_EXIT', rank: 1, reason: 'exited with status 3' });
  t.equal(verdict.exitCode, 7);
});

t.test('a signal counts 128 and its number if it was the first failure', async (t) => {
  const verdict = new Verdict();
  verdict.rankEnded(0, killed('SIGSEGV'), false);
  verdict.rankEnded(1, exited(1), false);
  t.match(verdict.failure, { code: 'ERR_RANK_SIGNAL', rank: 0, exitCode: 139 });
  t.equal(verdict.exitCode, 139);
});

t.test('a signal after the first failure does not count', async (t) => {
  const verdict = new Verdict();
  verdict.rankEnded(0, exited(1), false);
  verdict.rankEnded(1, killed('SIGKILL'), false);
  t.equal(verdict.exitCode, 1);
});

t.test('ranks that the launcher ended are no failures', async (t) => {
  const verdict = new Verdict();
  t.equal(verdict.rankEnded(0, killed('SIGTERM'), true), undefined);
  t.equal(verdict.rankEnded(1, exited(143), true), undefined);
  t.equal(verdict.exitCode, 0);
});

t.test('a rank that leaves without finalizing is a failure', async (t) => {
  const verdict = new Verdict();
  verdict.rankEnded(2, exited(0, true), false);
  t.match(verdict.failure, { code: 'ERR_RANK_NOT_FINALIZED', rank: 2 });
  t.match(verdict.failure?.message, /rank 2 exited without finalizing/);
  t.equal(verdict.exitCode, 1);
});

t.test('a rank that was not started or lost says why', async (t) => {
  for (const kind of ['not-started', 'lost'] as const) {
    const verdict = new Verdict();
    const cause = new Error('no memory for the virtual machine');
    verdict.rankEnded(1, { kind, cause }, false);
    t.match(verdict.failure?.message, /^rank 1 .*: no memory for the virtual machine$/);
    t.equal(verdict.failure?.cause, cause);
    t.equal(verdict.exitCode, 1);
  }
});
