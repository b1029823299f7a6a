/** The other process of the traffic suite: does what it is told by IPC, until that closes. */
import type { Answer, Command } from '../traffic/peer.js';
import { LocalSide, type SideOptions } from '../traffic/side.js';

const sides: LocalSide[] = [];

async function obey({ side, method, args }: Command): Promise<unknown> {
  if (side !== undefined) {
    const target = sides[side] as unknown as Record<string, (...args: unknown[]) => unknown>;
    return target[method]?.(...args);
  }
  if (method === 'exit') process.exit(3);
  if (method === 'number') return process.pid;
  return sides.push(new LocalSide(args[0] as SideOptions)) - 1;
}

async function answerTo(command: Command): Promise<Answer> {
  const { number } = command;
  try {
    return { number, result: await obey(command) };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { number, error: { message: error.message, code: 'code' in error && error.code } };
  }
}

process.on('message', (command: Command) => {
  void answerTo(command).then((answer) => {
    if (process.connected) process.send?.(answer);
  });
});
// The device is closed in good order, and then nothing keeps the process.
process.on('disconnect', () => sides.forEach((side) => void side.close()));
