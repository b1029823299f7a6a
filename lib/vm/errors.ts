/** What can go wrong with a virtual machine. */
import { ViaductError, type ErrorDetails } from '../errors.js';

/** A `ViaductError` that knows its machine. */
export interface VmErrorDetails extends ErrorDetails {
  /** The machine's name. */
  readonly vm?: string;
  /** The last lines of its console, which are put into the message. */
  readonly consoleTail?: string;
}

/**
 * Codes: `ERR_VM_DRIVER` (the driver's program is not installed), `ERR_VM_ARGUMENT` (an option that can't be),
 * `ERR_VM_BOOT` (ended before its agent answered), `ERR_VM_BOOT_TIMEOUT`, `ERR_VM_PANIC` (the guest's kernel gave
 * up), `ERR_VM_ENDED` (ended while it was needed, or before), `ERR_VM_STATE` (not possible in this state),
 * `ERR_VM_SILENT` (the agent answers no more), `ERR_VM_PROTOCOL` (the agent says what no agent says),
 * `ERR_VM_EXEC` (a command could not be started), `ERR_VM_EXEC_TIMEOUT`, `ERR_VM_OUTPUT` (more output than allowed),
 * `ERR_VM_NETWORK` (an interface could not be set up), `ERR_VM_LINK` (a link could not be made), `ERR_VM_UNSUPPORTED`
 * (this machine or its driver can't), `ERR_VM_COPY` (files could not be copied), `ERR_VM_MONITOR` (QEMU refuses),
 * `ERR_VM_STATE_FILE` (a snapshot can't be read or made), `ERR_VM_MIGRATION`, `ERR_VM_MIGRATED` (it runs elsewhere now),
 * `ERR_VM_KERNEL` (a guest's kernel can't be used), `ERR_VM_CACHE` (it can't be kept), `ERR_VM_TOOL` (a program of the
 * host failed or is missing), `ERR_VM_NAME` (a machine has that name already, or none has), `ERR_VM_KEEPER` (the process
 * that owns a machine with a name ended).
 */
export class VmError extends ViaductError {
  /** The machine's name, where the error is about one. */
  readonly vm: string | undefined;
  /** The last lines of its console, empty where there are none. */
  readonly consoleTail: string;

  constructor(code: string, message: string, details: VmErrorDetails = {}) {
    const tail = details.consoleTail ?? '';
    const subject = details.vm === undefined ? '' : `VM ${details.vm}: `;
    super(
      code,
      subject + message + (tail === '' ? '' : `\nLast lines of its console:\n${indent(tail)}`),
      details,
    );
    this.vm = details.vm;
    this.consoleTail = tail;
  }
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  | ');
}
