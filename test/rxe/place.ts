/** Where programs of the verbs API run: in a guest on Soft-RoCE, or on this host over the software HCA. */
import type { Test } from 'tap';

import { type Guest, RXE_DEVICE } from '../../bench/rxe/guests.js';
import { type Outputs, type Program, Running, runServed } from '../programs/running.js';
import { environmentOf } from '../programs/surroundings.js';
import { GuestProgram } from './guest-program.js';
import type { Neighbourhood } from './host.js';

export interface Place {
  /** Of the machine. */
  readonly name: string;
  readonly address: string;
  readonly device: string;
  /** The place of the address in the device's table. */
  readonly gidIndex: number;
  start(t: Test, words: readonly string[]): Program;
}

export function guestPlace(guest: Guest): Place {
  return {
    name: guest.vm.name,
    address: guest.address,
    device: RXE_DEVICE,
    // After that of the link alone.
    gidIndex: 1,
    start: (t, words) => new GuestProgram(t, guest, words),
  };
}

/** As `viaduct exec --roce` runs them. */
export async function hostPlace({ enter, hostAddress }: Neighbourhood): Promise<Place> {
  const plain = await environmentOf('--roce');
  return {
    name: 'this host',
    address: hostAddress,
    device: 'softhca0',
    // After the two that mean the host itself.
    gidIndex: 2,
    start: (t, words) => new Running(t, { enter, env: { plain, remapped: plain } }, words),
  };
}

/** Ports are taken in turn: what a server leaves in TIME_WAIT is in nobody's way. */
let port = 18_500;

/** Runs a line of program and options as server at one place and as client at another. */
export async function runBetween(
  t: Test,
  line: string,
  server: Place,
  client: Place,
): Promise<Outputs | undefined> {
  port += 1;
  const words = line.split(' ');
  const isPingpong = line.startsWith('ibv_');
  const at = ({ device, gidIndex }: Place): string[] => [
    ...[...words, '-p', String(port), '-d', device],
    // -F: whatever the frequencies of the processors. -u: an emulated machine of a loaded host may not answer for a
    // second (4.096 µs · 2^18); Linux 6.1's rxe that sends again for no reason may send an empty write in between,
    // and count its packets wrong from there.
    ...(isPingpong ? ['-g', String(gidIndex)] : ['-x', String(gidIndex), '-F', '-u', '18']),
  ];
  return runServed(
    t,
    port,
    () => server.start(t, at(server)),
    () => client.start(t, [...at(client), server.address]),
  );
}
