/** Scenarios: communicators, groups and grids, and that their messages stay apart. */
import {
  ANY_SOURCE,
  cartCreate,
  cartCreateSync,
  type Communicator,
  dimsCreate,
  intercommCreate,
  intercommCreateSync,
  PROC_NULL,
} from '../../../lib/mpi/index.js';
import { check, checkEqual, codeOf, range, type Scenario } from './scenario.js';

/** Each rank tells the next its number: right only if all are where they should be. */
function checkRing(comm: Communicator, worldRankOf: (rank: number) => number, own: number): void {
  const next = (comm.rank + 1) % comm.size;
  const previous = (comm.rank + comm.size - 1) % comm.size;
  const word = new Int32Array(1);
  const receive = comm.irecv(word, ANY_SOURCE, 1);
  comm.sendSync(Int32Array.of(own), next, 1);
  checkEqual(receive.waitSync().source, previous, `source in ${comm.name}`);
  checkEqual(word[0], worldRankOf(previous), `message in ${comm.name}`);
}

export const communicators: Scenario[] = [
  {
    name: 'messages of a duplicate are apart from those of its original',
    ranks: 1,
    run: async ({ world, rank, size }) => {
      const next = (rank + 1) % size;
      const previous = (rank + size - 1) % size;
      const twins = [
        await world.dup(),
        world.dupSync(),
        ...(await Promise.all([world.dup(), world.dup()])),
      ];
      const all = [world, ...twins];
      const sends = all.map((comm, mark) => comm.isend(Int32Array.of(mark), next, 1));
      for (const [mark, comm] of [...all.entries()].reverse()) {
        const word = new Int32Array(1);
        comm.recvSync(word, previous, 1);
        checkEqual(word[0], mark, comm.name);
      }
      for (const send of sends) send.waitSync();
      for (const twin of twins) {
        checkEqual(twin.compare(world), 'congruent', 'compare');
        twin.barrierSync();
        twin.free();
        twin.free();
      }
      checkEqual(world.compare(world), 'identical', 'compare');
    },
  },
  {
    name: 'a freed communicator is an error, and what is under way in it ends',
    ranks: 2,
    run: async ({ world, rank }) => {
      const comm = world.dupSync();
      const bytes = new Uint8Array(100_000);
      const request =
        rank === 0 ? comm.isend(bytes, 1) : rank === 1 ? comm.irecv(bytes, 0) : undefined;
      comm.free();
      await request;
      for (const call of [
        () => {
          comm.sendSync(bytes, 0);
        },
        () => comm.recvSync(bytes),
        () => comm.irecv(bytes, 0),
        () => comm.probe(),
        () => comm.dup(),
        () => comm.barrier(),
        () => comm.explain(1, 0),
      ]) {
        checkEqual(await codeOf(call), 'ERR_MPI_COMM', String(call));
      }
      checkEqual(
        await codeOf(() => {
          world.free();
        }),
        'ERR_MPI_COMM',
        'the world',
      );
    },
  },
  {
    name: 'a split brings ranks of a color together, in the order of their keys',
    ranks: 1,
    run: async ({ world, rank, size }) => {
      const halves = await world.split({ color: rank % 2, key: -rank });
      const members = range(size)
        .filter((other) => other % 2 === rank % 2)
        .reverse();
      checkEqual(halves.size, members.length, 'size');
      checkEqual(halves.rank, members.indexOf(rank), 'rank');
      checkRing(halves, (other) => members[other], rank);
      const some = world.splitSync({ color: rank === 0 ? undefined : 5 });
      checkEqual(some?.size, rank === 0 ? undefined : size - 1, 'without rank 0');
      if (some !== undefined) checkRing(some, (other) => other + 1, rank);
      const host = await world.splitByHost();
      checkEqual(world.splitByHostSync({ key: 1 }).size, host.size, 'host');
      checkEqual(host.compare(world), 'congruent', 'all are on this host');
      checkEqual(await codeOf(() => world.split({ color: 0.5 })), 'ERR_MPI_ARG', 'color');
    },
  },
  {
    name: 'communicators are split and duplicated again and again',
    ranks: 1,
    run: async ({ world, rank, random }) => {
      for (let round = 0; round < 8; round++) {
        const colors = random.below(3) + 1;
        const part = await world.split({ color: rank % colors, key: random.below(5) * rank });
        using twin = part.dupSync();
        part.free();
        const whole = twin.splitSync({ color: 0 });
        checkEqual(whole.rank, twin.rank, 'rank');
        checkRing(whole, (other) => twin.group.translate([other], world.group)[0], rank);
      }
    },
  },
  {
    name: 'communicators are made of groups, with all ranks or with the group alone',
    ranks: 1,
    run: async ({ world, rank, size }) => {
      const backwards = world.group.include(range(size).reverse());
      const all = await world.create(backwards);
      check(all !== undefined, 'everybody is in it');
      checkEqual(all.rank, size - 1 - rank, 'rank');
      checkEqual(all.compare(world), size === 1 ? 'congruent' : 'similar', 'compare');
      checkRing(all, (other) => size - 1 - other, rank);
      const lower = world.group.include(range(Math.ceil(size / 2)));
      const upper = world.group.difference(lower);
      const mine = lower.rank >= 0 ? lower : upper;
      const half = world.createSync(mine);
      checkEqual(half?.size, mine.size, 'size');
      const none = world.createSync(world.group.include([0]));
      checkEqual(none === undefined, rank !== 0, 'only rank 0 has one');
      const alone = await world.createGroup(mine, 3);
      checkEqual(alone.size, mine.size, 'size');
      checkRing(alone, (other) => mine.translate([other], world.group)[0], rank);
      checkEqual(world.createGroupSync(mine).rank, mine.rank, 'rank');
      const outside = world.group.exclude([rank]);
      checkEqual(await codeOf(() => world.createGroup(outside)), 'ERR_MPI_GROUP', 'not in it');
      if (half !== undefined && size > 1) {
        checkEqual(await codeOf(() => half.create(world.group)), 'ERR_MPI_GROUP', 'too many');
      }
    },
  },
  {
    name: 'two groups speak to each other, and merge',
    ranks: 2,
    run: async ({ world, rank, size }) => {
      const isHigh = rank >= Math.ceil(size / 2);
      const low = Math.ceil(size / 2);
      const mine = world.splitSync({ color: isHigh ? 1 : 0 });
      const last = mine.size - 1;
      const otherLast = isHigh ? low - 1 : size - 1;
      for (const create of [intercommCreate, intercommCreateSync]) {
        const between = await create(mine, {
          localLeader: last,
          peerCommunicator: world,
          remoteLeader: otherLast,
          tag: 8,
        });
        checkEqual(between.size, mine.size, 'size');
        checkEqual(between.rank, mine.rank, 'rank');
        checkEqual(between.remoteSize, size - mine.size, 'remote size');
        checkEqual(between.remoteGroup.rank, -1, 'not in the other group');
        const first = isHigh ? 0 : low;
        const sends = range(between.remoteSize).map((other) =>
          between.isend(Int32Array.of(rank, first + other), other, 2),
        );
        const seen = new Set<number>();
        for (let k = 0; k < between.remoteSize; k++) {
          const words = new Int32Array(2);
          const { source } = between.recvSync(words, ANY_SOURCE, 2);
          checkEqual(words[0], first + source, 'source');
          checkEqual(words[1], rank, 'destination');
          seen.add(source);
        }
        for (const send of sends) send.waitSync();
        checkEqual(seen.size, between.remoteSize, 'all of them');
        checkEqual(
          await codeOf(() => between.isend(new Uint8Array(1), between.remoteSize)),
          'ERR_MPI_RANK',
          'beyond the other group',
        );
        const merged = await between.merge(!isHigh);
        checkEqual(merged.size, size, 'merged size');
        checkEqual(merged.rank, isHigh ? rank - low : rank + size - low, 'merged rank');
        checkRing(merged, (other) => (other + low) % size, rank);
        checkEqual(between.mergeSync(isHigh).compare(world), 'congruent', 'the other way round');
        between.free();
        checkEqual(await codeOf(() => between.iprobe()), 'ERR_MPI_COMM', 'freed');
      }
      if (mine.rank === 0) {
        checkEqual(await codeOf(() => intercommCreate(mine, {})), 'ERR_MPI_COMM', 'no peer');
      }
    },
  },
  {
    name: 'ranks stand on a grid, with neighbours and rows',
    ranks: 1,
    run: async ({ world, rank, size }) => {
      const dims = dimsCreate(size, 2);
      checkEqual(dims[0] * dims[1], size, 'places');
      const grid = await cartCreate(world, { dims, periods: [true, false] });
      check(grid !== undefined, 'everybody has a place');
      const [row, column] = grid.coords();
      checkEqual(grid.rank, row * dims[1] + column, 'the last coordinate varies fastest');
      checkEqual(grid.rankAt([row + dims[0], column]), grid.rank, 'periodic');
      checkEqual(grid.rankAt([row - dims[0], column]), grid.rank, 'periodic, backwards');
      checkEqual(await codeOf(() => grid.rankAt([0, dims[1]])), 'ERR_MPI_ARG', 'beyond the edge');
      const down = grid.shift(0, 1);
      checkEqual(down.destination, grid.rankAt([row + 1, column]), 'below');
      checkEqual(down.source, grid.rankAt([row - 1, column]), 'above');
      const right = grid.shift(1, 1);
      checkEqual(
        right.destination,
        column + 1 < dims[1] ? grid.rankAt([row, column + 1]) : PROC_NULL,
        'right',
      );
      checkEqual(right.source, column > 0 ? grid.rankAt([row, column - 1]) : PROC_NULL, 'left');
      // What is beyond an edge sends nothing, and needs no special case.
      const word = Int32Array.of(-1);
      await grid.sendrecv(Int32Array.of(rank), right.destination, 1, word, right.source, 1);
      checkEqual(word[0], column > 0 ? rank - 1 : -1, 'from the left');
      const line = await grid.sub([false, true]);
      checkEqual(line.size, dims[1], 'row');
      checkEqual(line.rank, column, 'rank in the row');
      checkEqual(line.dims.join(), String(dims[1]), 'dims');
      checkEqual(line.periods.join(), 'false', 'periods');
      checkRing(line, (other) => row * dims[1] + other, rank);
      const post = grid.subSync([true, false]);
      checkEqual(post.rank, row, 'rank in the column');
      const small = cartCreateSync(world, { dims: [1] });
      checkEqual(small === undefined, rank > 0, 'no place');
      checkEqual(
        await codeOf(() => cartCreate(world, { dims: [size + 1] })),
        'ERR_MPI_DIMS',
        'too many places',
      );
      checkEqual(await codeOf(() => grid.sub([true])), 'ERR_MPI_DIMS', 'dimensions');
    },
  },
  {
    name: 'an error handler decides what becomes of errors',
    ranks: 1,
    run: async ({ world, rank, size }) => {
      using comm = world.dupSync();
      comm.errorHandler = 'return';
      comm.sendSync(new Uint8Array(1), size);
      checkEqual(comm.lastError?.code, 'ERR_MPI_RANK', 'lastError');
      comm.sendSync(new Uint8Array(100), rank, 1);
      const status = comm.recvSync(new Uint8Array(1), rank, 1);
      checkEqual((status.error as { code?: string }).code, 'ERR_MPI_TRUNCATE', 'status.error');
      comm.sendSync(new Uint8Array(100), rank, 1);
      const awaited = await comm.recv(new Uint8Array(1), rank, 1);
      checkEqual((awaited.error as { code?: string }).code, 'ERR_MPI_TRUNCATE', 'awaited');
      const request = comm.isend(new Uint8Array(1), 0, -5);
      check(request.done, 'a request that has failed');
      checkEqual((request.error as { code?: string }).code, 'ERR_MPI_TAG', 'request.error');
      const codes: string[] = [];
      comm.errorHandler = (error) => {
        codes.push(error.code);
      };
      await comm.send(new Uint8Array(1), size);
      comm.probeSync(size);
      checkEqual(codes.join(), 'ERR_MPI_RANK,ERR_MPI_RANK', 'the function was told');
      checkEqual(comm.dupSync().errorHandler, comm.errorHandler, 'inherited');
      checkEqual(await codeOf(() => world.isend(new Uint8Array(1), size)), 'ERR_MPI_RANK', 'world');
    },
  },
];
