/*
 * What a program may ask of this device beyond verbs. For C and C++; find the functions by dlsym()
 * to run on other providers too, which don't have them.
 */
#ifndef SOFTHCA_EXTENSIONS_H
#define SOFTHCA_EXTENSIONS_H

#include <infiniband/verbs.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* NOLINTBEGIN(readability-identifier-naming): names of a C interface */

/* How the data of a queue pair's requests travels. */
enum viaduct_path {
  VIADUCT_PATH_NONE = 0,     /* it doesn't; the reason says why */
  VIADUCT_PATH_LOOPBACK = 1, /* the peer is in this process: loads and stores */
  VIADUCT_PATH_DIRECT = 2,   /* the peer's memory is mapped here: loads and stores */
  VIADUCT_PATH_COPY = 3,     /* the kernel's copy between processes, a system call a message */
  VIADUCT_PATH_MIXED = 4,    /* direct or copy, by the region that a request names */
  VIADUCT_PATH_PACKETS = 5   /* RoCEv2 over UDP, or through rings in an aperture */
};

enum viaduct_path_reason {
  VIADUCT_REASON_NOT_CONNECTED = 0, /* before RTR */
  VIADUCT_REASON_DATAGRAM = 1,      /* each message has a destination of its own */
  VIADUCT_REASON_NO_PEER = 2,       /* no live process, or none that answers, has the number */
  VIADUCT_REASON_PEER_GONE = 3,     /* it was there and has ended */
  VIADUCT_REASON_SAME_PROCESS = 4,
  VIADUCT_REASON_NO_REGION = 5,        /* the peer has registered no memory in that domain yet */
  VIADUCT_REASON_SHARED_FILE = 6,      /* its memory lies in files that both processes map */
  VIADUCT_REASON_PRIVATE = 7,          /* its memory is private, and remapping wasn't asked for */
  VIADUCT_REASON_REMAP_REFUSED = 8,    /* remapping was asked for and not possible */
  VIADUCT_REASON_SEVERAL_FILES = 9,    /* a region spans several mappings */
  VIADUCT_REASON_FILE_NOT_OPEN = 10,   /* the owner has no descriptor of the file open to write */
  VIADUCT_REASON_FILE_MAY_SHRINK = 11, /* the file isn't sealed with F_SEAL_SHRINK */
  VIADUCT_REASON_TOO_MANY_FILES = 12,
  VIADUCT_REASON_MAP_FAILED = 13,   /* the file couldn't be fetched or mapped here: `error` */
  VIADUCT_REASON_COPY_REFUSED = 14, /* nothing is mapped, and the kernel refuses to copy: `error` */
  VIADUCT_REASON_ON_DEMAND = 15,    /* a region that pages on demand, whose mappings may change */
  VIADUCT_REASON_OTHER_HOST = 16,   /* the peer's GID is no address of this host */
  VIADUCT_REASON_OTHER_USER = 17,   /* it is, but no process of this user has the number */
  VIADUCT_REASON_PACKETS_ONLY = 18, /* VIADUCT_PACKETS=1, here or there */
  VIADUCT_REASON_RINGS = 19         /* the GIDs are of an aperture's rings of packets */
};

struct viaduct_qp_path {
  uint32_t size;           /* in: sizeof(struct viaduct_qp_path); out: how much was filled in */
  uint32_t path;           /* enum viaduct_path */
  uint32_t reason;         /* enum viaduct_path_reason: of a mixed path, why it isn't all direct */
  int32_t error;           /* an errno value that belongs to the reason, or 0 */
  const char* text;        /* the reason as a sentence, with the remedy; never freed */
  int32_t peer_pid;        /* 0: unknown */
  uint32_t copy_permitted; /* 1: the kernel copies between this process and the peer */
  int32_t copy_error;      /* why not: an errno value */
  uint32_t direct_regions; /* of the peer's regions in its protection domain */
  uint32_t copied_regions;
  uint32_t reserved;
  /* Requests of this queue pair that moved data since its creation, and their bytes: */
  uint64_t direct_operations; /* by loads and stores (loopback too) */
  uint64_t direct_bytes;
  uint64_t copied_operations; /* by the kernel's copy */
  uint64_t copied_bytes;
  uint64_t packet_operations; /* as packets */
  uint64_t packet_bytes;
};

/*
 * Says which path the data of `qp`'s requests takes at present, from what the peer has registered.
 * What the peer's requests do with this process's memory, the peer can ask. Never on a hot path: it
 * reads the peer's table of keys, and maps its files if no request has done so yet.
 * 0, or EINVAL: the queue pair is destroyed, or `size` is smaller than up to `text`.
 */
int viaduct_explain_qp(struct ibv_qp* qp, struct viaduct_qp_path* path);

/*
 * Why the last ibv_modify_qp, ibv_create_ah or ibv_open_device of this thread failed, with the
 * remedy, if its errno value can't say it; else "". Valid until the thread's next one of these.
 */
const char* viaduct_problem(void);

/* What became of the packets of one process of this user. */
struct viaduct_packet_counters {
  int32_t pid;
  uint32_t reserved;
  uint64_t values[64];
};

/* The name of values[index], or a null pointer for those that have none. */
const char* viaduct_counter_name(uint32_t index);

/*
 * Fills in up to `room` elements, one for each live process of this user in this network namespace,
 * and returns how many there are.
 */
uint32_t viaduct_query_counters(struct ibv_context* context, struct viaduct_packet_counters* list,
                                uint32_t room);

/* NOLINTEND(readability-identifier-naming) */

#ifdef __cplusplus
}
#endif

#endif
