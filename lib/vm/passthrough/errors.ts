/** What can go wrong when a device is given to a virtual machine. */
import { ViaductError, type ErrorDetails } from '../../errors.js';
import type { Finding } from './preflight.js';

/** A `ViaductError` that knows what preflight found. */
export interface PassthroughErrorDetails extends ErrorDetails {
  /** What is missing, in the order in which one would mend it. */
  readonly findings?: readonly Finding[];
}

/**
 * Codes: `ERR_PASSTHROUGH_ARGUMENT` (a value that can't be), `ERR_PASSTHROUGH_DEVICE` (no such device, or not one that
 * can do this), `ERR_PASSTHROUGH_PREFLIGHT` (something is missing; `findings` has what, one by one),
 * `ERR_PASSTHROUGH_LEASED` (another lease has the device or its IOMMU group), `ERR_PASSTHROUGH_BUSY` (a process still
 * has the device open), `ERR_PASSTHROUGH_SYSFS` (the kernel refused a change), `ERR_PASSTHROUGH_TIMEOUT` (the kernel
 * did not finish it), `ERR_PASSTHROUGH_DRIVER` (the device did not get the driver), `ERR_PASSTHROUGH_IDENTITY` (a GUID
 * or MAC could not be set), `ERR_PASSTHROUGH_RUN_DIRECTORY` (the leases can't be kept), `ERR_PASSTHROUGH_PLUG` and
 * `ERR_PASSTHROUGH_UNPLUG` (QEMU or the guest refused). Use after release is a `ClosedError`.
 */
export class PassthroughError extends ViaductError {
  /** Why preflight failed; empty otherwise. */
  readonly findings: readonly Finding[];

  constructor(code: string, message: string, details: PassthroughErrorDetails = {}) {
    super(code, message, details);
    this.findings = details.findings ?? [];
  }
}
