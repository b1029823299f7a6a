/** Boots a machine and waits to be killed; says the number of the machine's guard first. */
import { VirtualMachine } from '../../../lib/vm/index.js';

const vm = await VirtualMachine.boot();
process.stdout.write(`${vm.guardPid}\n`);
await vm.exec('sleep', ['1000']);
