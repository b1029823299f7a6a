/** Sides of the traffic suite in a process of their own, here or in a guest: obeys its input until that ends. */
import type { Answer, Command } from '../traffic/peer.js';
import { receiveValues, sendValue } from '../traffic/messages.js';
import { factsOf } from '../traffic/facts.js';
import { LocalSide, type SideOptions } from '../traffic/side.js';

const sides: LocalSide[] = [];

async function obey({ side, method, args }: Command): Promise<unknown> {
  if (side !== undefined) {
    const target = sides[side] as unknown as Record<string, (...args: unknown[]) => unknown>;
    return target[method]?.(...args);
  }
  if (method === 'exit') process.exit(3);
  if (method === 'facts') return factsOf();
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

receiveValues(process.stdin, (command) => {
  void answerTo(command as Command).then((answer) => sendValue(process.stdout, answer));
});
// The device is closed in good order, and then nothing keeps the process.
process.stdin.on('end', () => sides.forEach((side) => void side.close()));
// Whoever gave the commands may have ended without awaiting the answers.
process.stdout.on('error', () => {});
