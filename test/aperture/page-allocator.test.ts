/** The allocator of pages: pure, so held against a simple model. */
import t from 'tap';

import { PageAllocator } from '../../lib/aperture/page-allocator.js';
import { seededRandom } from '../seeded-random.js';

t.test('random blocks never overlap, and all room comes back', (t) => {
  const random = seededRandom(t);
  const words = new Int32Array(300);
  const allocator = new PageAllocator(words, 4);
  const live: { page: number; count: number; owner: number }[] = [];
  const taken = new Set<number>();
  for (let step = 0; step < 5000; step++) {
    if (random.below(2) === 0 || live.length === 0) {
      const count = 1 + random.below(12);
      const owner = 1 + random.below(5);
      const page = allocator.allocate(count, owner);
      if (page < 0) continue;
      for (let k = page; k < page + count; k++) {
        if (k < 4 || k >= 300 || taken.has(k)) t.fail(`page ${k} was handed out twice`);
        taken.add(k);
      }
      live.push({ page, count, owner });
    } else {
      const [block] = live.splice(random.below(live.length), 1);
      const { page, count, owner } = block;
      if (allocator.free(page, owner) !== count) t.fail(`block at ${page} lost its length`);
      for (let k = page; k < page + count; k++) taken.delete(k);
    }
    if (allocator.freePages !== 296 - taken.size) t.fail(`free pages differ in step ${step}`);
  }
  t.pass('5000 steps');
  t.end();
});

t.test('it finds room whenever a run is long enough', (t) => {
  const allocator = new PageAllocator(new Int32Array(10), 0);
  const pages = [0, 1, 2, 3, 4].map(() => allocator.allocate(2, 1));
  t.same(pages, [0, 2, 4, 6, 8]);
  allocator.free(2, 1);
  allocator.free(6, 1);
  t.equal(allocator.allocate(3, 1), -1);
  allocator.free(4, 1);
  t.equal(allocator.allocate(6, 1), 2);
  t.end();
});

t.test('what a participant left half claimed is reclaimed', (t) => {
  const words = new Int32Array(10);
  const allocator = new PageAllocator(words, 0);
  // Owner 3 died while it claimed a block, owner 4 while it freed one from the tail.
  words[2] = (3 << 1) | 1;
  words[3] = 3 << 1;
  words[6] = (4 << 1) | 1;
  t.equal(allocator.reclaim(3), 2);
  t.equal(allocator.length(6), 1);
  t.equal(allocator.reclaim(4), 1);
  t.equal(allocator.allocate(10, 1), 0);
  t.end();
});

t.test('neighbouring blocks of one owner stay two blocks', (t) => {
  const allocator = new PageAllocator(new Int32Array(8), 0);
  const first = allocator.allocate(2, 1);
  const second = allocator.allocate(3, 1);
  t.equal(allocator.length(first), 2);
  t.equal(allocator.length(second), 3);
  t.equal(allocator.free(first, 1), 2);
  t.equal(allocator.length(second), 3);
  t.end();
});
