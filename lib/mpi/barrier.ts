/** The barrier, by dissemination: in round k each rank signals the one 2^k further on. */
import type { Engine } from './engine.js';
import { NO_MEMORY } from './memory.js';
import { RECEIVE, Request, SEND } from './request.js';

/** The requests of one round; the round's number is the tag. */
function beginRound(engine: Engine, context: number, round: number): [Request, Request] {
  const { rank, size } = engine;
  const distance = 2 ** round;
  const receive = new Request(engine);
  receive.kind = RECEIVE;
  receive.context = context;
  receive.peer = (rank - distance + size) % size;
  receive.tag = round;
  engine.startReceive(receive);
  const send = new Request(engine);
  send.kind = SEND;
  send.context = context;
  send.peer = (rank + distance) % size;
  send.tag = round;
  send.memory = NO_MEMORY;
  engine.startSend(send);
  return [send, receive];
}

export function barrierSync(engine: Engine, context: number): void {
  for (let round = 0; 2 ** round < engine.size; round++) {
    Request.waitAllSync(beginRound(engine, context, round));
  }
}

export async function barrier(engine: Engine, context: number): Promise<void> {
  for (let round = 0; 2 ** round < engine.size; round++) {
    const [send, receive] = beginRound(engine, context, round);
    await Promise.all([send.promise(), receive.promise()]);
  }
}
