/** VMM bypass on hardware: devices and their virtual functions for virtual machines, by VFIO. */
export { DeviceLease } from './device-lease.js';
export { PassthroughError, type PassthroughErrorDetails } from './errors.js';
export {
  PassthroughHost,
  type LeaseOptions,
  type LeaseStatus,
  type PassthroughHostOptions,
} from './host.js';
export type { VirtualFunctionIdentity } from './identity.js';
export type { GroupMember, IommuGroup } from './iommu-group.js';
export type { PciDevice, SriovCapability } from './pci-device.js';
export type { Finding, PreflightOptions, Problem } from './preflight.js';
export type { QemuDevice, QmpConnection, QmpListener, UnplugOptions } from './qemu.js';
export type { RdmaDevice, RdmaPort } from './rdma-device.js';
