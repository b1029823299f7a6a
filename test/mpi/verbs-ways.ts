/** The ways that messages can go by the verbs channel over the software HCA. */

/** How the device moves data, by its variables. */
export const PATHS = {
  // The connection's buffers lie in files that both map; the memory of programs is copied by the kernel.
  'direct and copy': {},
  // The memory of programs, too, is moved where both map it: whole pages, which nobody else may write to meanwhile. The
  // allocator gives pieces of this size pages of their own.
  direct: { VIADUCT_REMAP: '1', MALLOC_MMAP_THRESHOLD_: '8192' },
  packets: { VIADUCT_PACKETS: '1', VIADUCT_LINK_LAYER: 'ethernet' },
} as const;

export const LONG_PROTOCOLS = ['rdma-read', 'rdma-write', 'fragments'] as const;

/** None whole; the default; all but the longest whole. */
export const EAGER_BYTES = ['0', '16384', '1000000'] as const;

export function verbs(
  path: keyof typeof PATHS,
  longProtocol: (typeof LONG_PROTOCOLS)[number],
  eagerBytes: (typeof EAGER_BYTES)[number] = '16384',
): Record<string, string> {
  return {
    VIADUCT_CHANNEL: 'verbs',
    VIADUCT_LONG_MESSAGES: longProtocol,
    VIADUCT_EAGER_BYTES: eagerBytes,
    ...PATHS[path],
  };
}
