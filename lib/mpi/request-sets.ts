/**
 * Waiting for and testing several requests (MPI 4.1, section 3.7.5). A request is active until it was told that it is
 * done; the others, and empty places, are passed over.
 */
import type { Completion, Request, RequestList } from './request.js';

interface Entry {
  readonly index: number;
  readonly request: Request;
}

function activeOf(requests: RequestList): Entry[] {
  const entries: Entry[] = [];
  for (const [index, request] of requests.entries()) {
    if (request?.isActive === true) entries.push({ index, request });
  }
  return entries;
}

const isDone = ({ request }: Entry): boolean => request.done;

function waitUntil(entries: readonly Entry[], isEnough: () => boolean): void {
  if (isEnough()) return;
  const requests = entries.filter((entry) => !isDone(entry)).map(({ request }) => request);
  requests[0].scope.owner.waitUntil(isEnough, requests);
}

async function awaitUntil(entries: readonly Entry[], isEnough: () => boolean): Promise<void> {
  if (isEnough()) return;
  const pending = entries.filter((entry) => !isDone(entry));
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (!isEnough()) return;
      for (const { request } of pending) request.unlisten(look);
      resolve();
    };
    for (const { request } of pending) request.listen(look);
  });
}

function collect(entries: readonly Entry[]): Completion[] {
  const done = entries.filter(isDone);
  for (const { request } of done) request.isCollected = true;
  raiseFirst(done);
  return done.map(({ index, request }) => ({ index, status: request.status }));
}

function collectOne(entries: readonly Entry[]): Completion | undefined {
  return collect(entries.filter(isDone).slice(0, 1))[0];
}

function collectAll(entries: readonly Entry[]): void {
  for (const { request } of entries) request.isCollected = true;
  raiseFirst(entries);
}

/** Of several errors one can be thrown; the others stay with their requests. */
function raiseFirst(entries: readonly Entry[]): void {
  const failed = entries.find(({ request }) => request.error !== undefined);
  if (failed !== undefined) failed.request.scope.raise(failed.request.error!);
}

function pollFor(entries: readonly Entry[]): void {
  if (entries.length > 0 && !entries.every(isDone)) entries[0].request.scope.owner.poll();
}

const everyOf = (entries: readonly Entry[]) => (): boolean => entries.every(isDone);
const someOf = (entries: readonly Entry[]) => (): boolean =>
  entries.length === 0 || entries.some(isDone);

export function waitAllSync(requests: RequestList): void {
  let failed: Request | undefined;
  // One after the other, which is as good as together and needs no list of those that are left.
  for (const request of requests) {
    if (request?.isActive !== true) continue;
    if (!request.done) request.scope.owner.wait(request);
    request.isCollected = true;
    if (failed === undefined && request.error !== undefined) failed = request;
  }
  if (failed !== undefined) failed.scope.raise(failed.error!);
}

export async function waitAll(requests: RequestList): Promise<void> {
  const entries = activeOf(requests);
  await awaitUntil(entries, everyOf(entries));
  collectAll(entries);
}

export function waitAnySync(requests: RequestList): Completion | undefined {
  const entries = activeOf(requests);
  waitUntil(entries, someOf(entries));
  return collectOne(entries);
}

export async function waitAny(requests: RequestList): Promise<Completion | undefined> {
  const entries = activeOf(requests);
  await awaitUntil(entries, someOf(entries));
  return collectOne(entries);
}

export function waitSomeSync(requests: RequestList): Completion[] {
  const entries = activeOf(requests);
  waitUntil(entries, someOf(entries));
  return collect(entries);
}

export async function waitSome(requests: RequestList): Promise<Completion[]> {
  const entries = activeOf(requests);
  await awaitUntil(entries, someOf(entries));
  return collect(entries);
}

export function testAll(requests: RequestList): boolean {
  const entries = activeOf(requests);
  pollFor(entries);
  if (!entries.every(isDone)) return false;
  collectAll(entries);
  return true;
}

export function testAny(requests: RequestList): Completion | undefined {
  const entries = activeOf(requests);
  pollFor(entries);
  return collectOne(entries);
}

export function testSome(requests: RequestList): Completion[] {
  const entries = activeOf(requests);
  pollFor(entries);
  return collect(entries);
}
