/** Boots a machine and waits to be killed; says the number of the machine's guard first. */
import { VirtualMachine } from '../../../lib/vm/index.js';

const driver = process.argv[2] === 'qemu' ? 'qemu' : 'uml';
const vm = await VirtualMachine.boot(
  driver === 'qemu' ? { driver, programs: ['sleep'] } : { driver },
);
process.stdout.write(`${vm.guardPid}\n`);
await vm.exec('sleep', ['1000']);
