/**
 * InfiniBand verbs: the classes are one to one the objects of libibverbs, over the system's provider or the software HCA.
 *
 * Every call on an object that is closed throws a `ClosedError`; a verb that the provider or device does not have an
 * `UnsupportedError`; what a device refuses a `VerbsError` with its `errno`, the `verb`, and what to do.
 *
 * Sizes are in bytes, times in milliseconds unless the name or the docstring says otherwise. Numbers that verbs give
 * with 64 bits are bigint in objects, and two numbers of 32 bits in rings. Names in parentheses with a (3) are manual
 * pages of rdma-core.
 *
 * @module viaduct/verbs
 */
export { AddressHandle, type AddressVector } from './address-handle.js';
export { CompletionChannel } from './completion-channel.js';
export {
  CompletionQueue,
  type CompletionQueueOptions,
  type CompletionWaitOptions,
} from './completion-queue.js';
export {
  type AsyncEvent,
  Device,
  type DeviceDescription,
  listDevices,
  openDevice,
  type OpenDeviceOptions,
} from './device.js';
export type { DeviceAttributes, PortAttributes } from './device-attributes.js';
export type { Endpoint, EndpointOptions, GidEntry } from './endpoint.js';
export type { ProcessCounters } from './process-counters.js';
export {
  type Access,
  type AsyncEventType,
  type CompletionOpcode,
  type CompletionStatus,
  FENCE,
  type GidType,
  type LinkLayer,
  type MtuBytes,
  type PortState,
  type QueuePairState,
  type QueuePairType,
  type SendOpcode,
  SIGNALED,
  SOLICITED,
  WC_GRH,
  WC_WITH_IMM,
  WC_WITH_INV,
} from './enumerations.js';
export { UnsupportedError, VerbsError, type VerbsErrorDetails } from './errors.js';
export {
  MemoryRegion,
  type MemorySlice,
  type RegisteredMemory,
  type RemoteMemory,
  type RegisterOptions,
  type ReregisterChange,
} from './memory-region.js';
export { MemoryWindow, type WindowBinding } from './memory-window.js';
export type { PathExplanation } from './path-explanation.js';
export { PITFALL } from './pitfalls.js';
export { accessNumber, ProtectionDomain, type Registrable } from './protection-domain.js';
export { PROVIDERS, type ProviderName, softwareHcaPath } from './provider.js';
export { QueuePair } from './queue-pair.js';
export type {
  QueuePairAttributes,
  QueuePairCapabilities,
  QueuePairQuery,
} from './queue-pair-attributes.js';
export type {
  ConnectOptions,
  Ece,
  QueuePairOptions,
  XrcTargetOptions,
} from './queue-pair-options.js';
export type { RawMemory, ReceiveWorkRequest, ScatterGatherEntry } from './receive-work-request.js';
export {
  CachedRegion,
  Registration,
  RegistrationCache,
  type RegistrationCacheOptions,
  type RegistrationCacheStats,
} from './registration-cache.js';
export { CompletionRing } from './rings/completion-ring.js';
export { ReceiveRing } from './rings/receive-ring.js';
export { SendRing } from './rings/send-ring.js';
export type { SendWorkRequest } from './send-work-request.js';
export {
  SharedReceiveQueue,
  type SharedReceiveQueueOptions,
  type SharedReceiveQueueQuery,
} from './shared-receive-queue.js';
export type { WaitOptions } from './waiting.js';
export { CompletionError, WorkCompletion } from './work-completion.js';
export { XrcDomain, type XrcDomainOptions } from './xrc-domain.js';
