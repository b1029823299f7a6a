// Work requests from a ring to the provider, in chains of one call each.
#include <endian.h>

#include <algorithm>
#include <cerrno>

#include "verbs/rings.h"

namespace viaduct::verbs {

namespace {

// As many requests as one chain has: bounds the stack, and is long enough that a call's cost is
// spread thin.
constexpr uint32_t chain_length = 32;

// Rejects entries over memory that JavaScript gave away since it was registered. Entries mostly
// name one region again and again, so the last one seen is remembered.
class AttachmentCheck {
 public:
  explicit AttachmentCheck(const Domain* domain) : domain_(domain) {}

  bool passes(const ibv_sge* entries, uint32_t count) {
    if (domain_ == nullptr || domain_->detachable.empty()) return true;
    for (uint32_t i = 0; i < count; ++i) {
      if (seen_ && entries[i].lkey == last_lkey_) continue;
      const Region* region = domain_->detachable.find(entries[i].lkey);
      if (region != nullptr && !region->backing->attached()) return false;
      last_lkey_ = entries[i].lkey;
      seen_ = true;
    }
    return true;
  }

 private:
  const Domain* domain_;
  uint32_t last_lkey_ = 0;
  bool seen_ = false;
};

struct Slot {
  const SendDescriptor& descriptor;
  ibv_sge* entries;
  std::byte* inline_data;

  Slot(const Ring& ring, uint32_t index)
      : descriptor(*reinterpret_cast<const SendDescriptor*>(ring.slot(index))),
        entries(reinterpret_cast<ibv_sge*>(ring.slot(index) + sizeof(SendDescriptor))),
        inline_data(reinterpret_cast<std::byte*>(entries + ring.max_sge)) {}

  bool is_inline() const { return (descriptor.send_flags & IBV_SEND_INLINE) != 0; }
  bool fits(const Ring& ring) const {
    return descriptor.length <= (is_inline() ? ring.inline_bytes : ring.max_sge);
  }
};

// What a request names by handle.
struct Named {
  const AddressHandle* address = nullptr;
  const Window* window = nullptr;
  const Region* region = nullptr;
};

bool resolve(const Objects& objects, const QueuePair& qp, const SendDescriptor& descriptor,
             Named& named) {
  if (descriptor.opcode == IBV_WR_BIND_MW) {
    named.window = objects.find<Window>(descriptor.object);
    named.region = objects.find<Region>(descriptor.remote_qpn);
    return named.window != nullptr && named.region != nullptr;
  }
  if (qp.verbs->qp_type == IBV_QPT_UD) {
    named.address = objects.find<AddressHandle>(descriptor.object);
    return named.address != nullptr;
  }
  return true;
}

ibv_mw_bind_info bind_info(const SendDescriptor& descriptor, const Region& region) {
  return {region.verbs, descriptor.remote_addr, descriptor.compare_add, descriptor.remote_qkey};
}

// Later opcodes (TSO, the drivers' own) take pointers, which a descriptor has no place for.
bool is_known(uint32_t opcode) {
  constexpr uint32_t atomic_write = 15;  // IBV_WR_ATOMIC_WRITE, from rdma-core 44 on
  return opcode <= IBV_WR_SEND_WITH_INV || opcode == atomic_write;
}

bool invalidates(uint32_t opcode) {
  return opcode == IBV_WR_SEND_WITH_INV || opcode == IBV_WR_LOCAL_INV;
}

// `inline_entry` is where the entry of inline data goes.
void fill(ibv_send_wr& wr, const QueuePair& qp, const Slot& slot, const Named& named,
          ibv_sge& inline_entry) {
  const SendDescriptor& descriptor = slot.descriptor;
  wr.wr_id = descriptor.wr_id;
  wr.next = nullptr;
  wr.opcode = static_cast<ibv_wr_opcode>(descriptor.opcode);
  wr.send_flags = descriptor.send_flags;
  if (slot.is_inline()) {
    inline_entry = {reinterpret_cast<uintptr_t>(slot.inline_data), descriptor.length, 0};
    wr.sg_list = &inline_entry;
    wr.num_sge = 1;
  } else {
    wr.sg_list = slot.entries;
    wr.num_sge = static_cast<int>(descriptor.length);
  }
  if (invalidates(descriptor.opcode)) {
    wr.invalidate_rkey = descriptor.immediate;
  } else {
    wr.imm_data = htobe32(descriptor.immediate);
  }
  if (named.window != nullptr) {
    wr.bind_mw = {named.window->verbs, descriptor.rkey, bind_info(descriptor, *named.region)};
    return;
  }
  if (named.address != nullptr) {
    wr.wr.ud = {named.address->verbs, descriptor.remote_qpn, descriptor.remote_qkey};
    return;
  }
  if (descriptor.opcode == IBV_WR_ATOMIC_CMP_AND_SWP ||
      descriptor.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
    wr.wr.atomic = {descriptor.remote_addr, descriptor.compare_add, descriptor.swap,
                    descriptor.rkey};
  } else {
    wr.wr.rdma = {descriptor.remote_addr, descriptor.rkey};
  }
  if (qp.verbs->qp_type == IBV_QPT_XRC_SEND) wr.qp_type.xrc.remote_srqn = descriptor.object;
}

Posted post_chains(const Objects& objects, const QueuePair& qp, const Ring& ring, uint32_t first,
                   uint32_t count) {
  ibv_send_wr chain[chain_length];
  ibv_sge inline_entries[chain_length];
  AttachmentCheck attachment(qp.domain);
  Posted posted;
  while (posted.count < count) {
    const uint32_t wanted = std::min(chain_length, count - posted.count);
    uint32_t filled = 0;
    for (; filled < wanted; ++filled) {
      const Slot slot(ring, first + posted.count + filled);
      Named named;
      if (!slot.fits(ring)) {
        posted.error = post_bad_slot;
      } else if (!is_known(slot.descriptor.opcode)) {
        posted.error = EOPNOTSUPP;
      } else if (!slot.is_inline() && !attachment.passes(slot.entries, slot.descriptor.length)) {
        posted.error = post_detached;
      } else if (!resolve(objects, qp, slot.descriptor, named)) {
        posted.error = post_stale_object;
      }
      if (posted.error != 0) break;
      fill(chain[filled], qp, slot, named, inline_entries[filled]);
      if (filled > 0) chain[filled - 1].next = &chain[filled];
    }
    // What stands before the request that is wrong is posted, as ibv_post_send does it.
    if (filled > 0) {
      ibv_send_wr* bad = nullptr;
      const int error = ibv_post_send(qp.verbs, chain, &bad);
      if (error != 0) {
        posted.error = error;
        if (bad != nullptr) posted.count += static_cast<uint32_t>(bad - chain);
        return posted;
      }
      posted.count += filled;
    }
    if (posted.error != 0) return posted;
  }
  return posted;
}

// False: the opcode has no ibv_wr_* function on this queue pair.
bool build(ibv_qp_ex* qp, const SendDescriptor& descriptor, const Named& named) {
  const __be32 immediate = htobe32(descriptor.immediate);
  const uint32_t rkey = descriptor.rkey;
  const uint64_t address = descriptor.remote_addr;
  switch (descriptor.opcode) {
    case IBV_WR_RDMA_WRITE:
      if (qp->wr_rdma_write == nullptr) return false;
      ibv_wr_rdma_write(qp, rkey, address);
      return true;
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      if (qp->wr_rdma_write_imm == nullptr) return false;
      ibv_wr_rdma_write_imm(qp, rkey, address, immediate);
      return true;
    case IBV_WR_SEND:
      if (qp->wr_send == nullptr) return false;
      ibv_wr_send(qp);
      return true;
    case IBV_WR_SEND_WITH_IMM:
      if (qp->wr_send_imm == nullptr) return false;
      ibv_wr_send_imm(qp, immediate);
      return true;
    case IBV_WR_SEND_WITH_INV:
      if (qp->wr_send_inv == nullptr) return false;
      ibv_wr_send_inv(qp, descriptor.immediate);
      return true;
    case IBV_WR_RDMA_READ:
      if (qp->wr_rdma_read == nullptr) return false;
      ibv_wr_rdma_read(qp, rkey, address);
      return true;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
      if (qp->wr_atomic_cmp_swp == nullptr) return false;
      ibv_wr_atomic_cmp_swp(qp, rkey, address, descriptor.compare_add, descriptor.swap);
      return true;
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      if (qp->wr_atomic_fetch_add == nullptr) return false;
      ibv_wr_atomic_fetch_add(qp, rkey, address, descriptor.compare_add);
      return true;
    case IBV_WR_LOCAL_INV:
      if (qp->wr_local_inv == nullptr) return false;
      ibv_wr_local_inv(qp, descriptor.immediate);
      return true;
    case IBV_WR_BIND_MW: {
      if (qp->wr_bind_mw == nullptr) return false;
      const ibv_mw_bind_info info = bind_info(descriptor, *named.region);
      ibv_wr_bind_mw(qp, named.window->verbs, rkey, &info);
      return true;
    }
    default:
      return false;
  }
}

bool carries_data(uint32_t opcode) {
  return opcode != IBV_WR_LOCAL_INV && opcode != IBV_WR_BIND_MW;
}

// By the newer interface a batch is posted whole or not at all.
Posted post_batch(const Objects& objects, const QueuePair& pair, const Ring& ring, uint32_t first,
                  uint32_t count) {
  ibv_qp_ex* qp = pair.extended;
  AttachmentCheck attachment(pair.domain);
  Posted posted;
  ibv_wr_start(qp);
  for (uint32_t i = 0; i < count; ++i) {
    const Slot slot(ring, first + i);
    const SendDescriptor& descriptor = slot.descriptor;
    Named named;
    if (!slot.fits(ring)) {
      posted.error = post_bad_slot;
    } else if (!slot.is_inline() && !attachment.passes(slot.entries, descriptor.length)) {
      posted.error = post_detached;
    } else if (!resolve(objects, pair, descriptor, named)) {
      posted.error = post_stale_object;
    } else {
      qp->wr_id = descriptor.wr_id;
      // With the flag for inline data, which the data itself implies, but librxe looks for.
      qp->wr_flags = descriptor.send_flags;
      if (!build(qp, descriptor, named)) posted.error = EOPNOTSUPP;
    }
    if (posted.error != 0) {
      ibv_wr_abort(qp);
      return posted;
    }
    if (carries_data(descriptor.opcode)) {
      if (slot.is_inline()) {
        ibv_wr_set_inline_data(qp, slot.inline_data, descriptor.length);
      } else {
        ibv_wr_set_sge_list(qp, descriptor.length, slot.entries);
      }
    }
    if (named.address != nullptr) {
      ibv_wr_set_ud_addr(qp, named.address->verbs, descriptor.remote_qpn, descriptor.remote_qkey);
    }
    if (pair.verbs->qp_type == IBV_QPT_XRC_SEND) ibv_wr_set_xrc_srqn(qp, descriptor.object);
  }
  posted.error = ibv_wr_complete(qp);
  if (posted.error == 0) posted.count = count;
  return posted;
}

template <typename Post>
Posted post_receives(const Domain* domain, const Ring& ring, uint32_t first, uint32_t count,
                     Post post) {
  ibv_recv_wr chain[chain_length];
  AttachmentCheck attachment(domain);
  Posted posted;
  while (posted.count < count) {
    const uint32_t wanted = std::min(chain_length, count - posted.count);
    uint32_t filled = 0;
    for (; filled < wanted; ++filled) {
      std::byte* slot = ring.slot(first + posted.count + filled);
      const auto& descriptor = *reinterpret_cast<const ReceiveDescriptor*>(slot);
      auto* entries = reinterpret_cast<ibv_sge*>(slot + sizeof(ReceiveDescriptor));
      if (descriptor.num_sge > ring.max_sge) {
        posted.error = post_bad_slot;
      } else if (!attachment.passes(entries, descriptor.num_sge)) {
        posted.error = post_detached;
      }
      if (posted.error != 0) break;
      chain[filled] = {descriptor.wr_id, nullptr, entries, static_cast<int>(descriptor.num_sge)};
      if (filled > 0) chain[filled - 1].next = &chain[filled];
    }
    if (filled > 0) {
      ibv_recv_wr* bad = nullptr;
      const int error = post(chain, &bad);
      if (error != 0) {
        posted.error = error;
        if (bad != nullptr) posted.count += static_cast<uint32_t>(bad - chain);
        return posted;
      }
      posted.count += filled;
    }
    if (posted.error != 0) return posted;
  }
  return posted;
}

}  // namespace

Posted post_send(const Objects& objects, const QueuePair& qp, const Ring& ring, uint32_t first,
                 uint32_t count) {
  return qp.extended == nullptr ? post_chains(objects, qp, ring, first, count)
                                : post_batch(objects, qp, ring, first, count);
}

Posted post_receive(const QueuePair& qp, const Ring& ring, uint32_t first, uint32_t count) {
  return post_receives(qp.domain, ring, first, count, [&](ibv_recv_wr* chain, ibv_recv_wr** bad) {
    return ibv_post_recv(qp.verbs, chain, bad);
  });
}

Posted post_srq_receive(const SharedReceiveQueue& srq, const Ring& ring, uint32_t first,
                        uint32_t count) {
  return post_receives(srq.domain, ring, first, count, [&](ibv_recv_wr* chain, ibv_recv_wr** bad) {
    return ibv_post_srq_recv(srq.verbs, chain, bad);
  });
}

}  // namespace viaduct::verbs
