#include "softhca/packet_device.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "softhca/fault_guard.h"
#include "softhca/gid_table.h"
#include "softhca/mw.h"
#include "softhca/network_options.h"
#include "softhca/path.h"
#include "softhca/receive_ring.h"
#include "softhca/responder.h"
#include "softhca/srq.h"

namespace softhca {
namespace {

using transport::ReceiveCompletion;
using transport::SendWqe;
using transport::TakenReceive;

// Whoever uses memory by a key holds the lock of the queue pair, so that the key's end can wait for
// it (key_table.h).
class Inbound {
 public:
  explicit Inbound(QueuePair& qp) : lock_(qp.shared->inbound), site_(qp.host->site()) {
    enter(lock_, site_);
  }
  ~Inbound() { unlock(lock_, site_); }
  Inbound(const Inbound&) = delete;

 private:
  SharedLock& lock_;
  Site& site_;
};

bool copy(void* to, const void* from, size_t bytes) {
  void* address = nullptr;
  return guard_faults([&] { memcpy(to, from, bytes); }, &address);
}

// Calls visit(piece's address, its length, place in `bytes`) for the part of a list that begins at
// `offset`. False: visit said so, or the list is too short.
template <typename Visit>
bool walk(const ibv_sge* list, uint32_t count, uint64_t offset, size_t bytes, Visit visit) {
  size_t done = 0;
  for (uint32_t i = 0; i < count && done < bytes; ++i) {
    if (offset >= list[i].length) {
      offset -= list[i].length;
      continue;
    }
    const auto piece = size_t(std::min<uint64_t>(list[i].length - offset, bytes - done));
    if (!visit(list[i], offset, piece, done)) return false;
    done += piece;
    offset = 0;
  }
  return done == bytes;
}

SendWqe describe(const QueuePair& qp, const SendRequest& request) {
  SendWqe wqe;
  wqe.opcode = request.opcode;
  wqe.solicited = request.flags & IBV_SEND_SOLICITED;
  wqe.fence = request.flags & IBV_SEND_FENCE;
  wqe.immediate = request.imm;
  for (uint32_t i = 0; i < request.num_sge; ++i) wqe.bytes += request.sge[i].length;
  wqe.remote_address = request.remote_address;
  wqe.rkey = request.rkey;
  wqe.compare_add = request.compare_add;
  wqe.swap = request.swap;
  wqe.srq = request.srq_number;
  if (qp.type() != IBV_QPT_UD) return wqe;
  // What stays on this host is carried out as requests that concern no peer are.
  if (!is_routed(request.address)) wqe.opcode = IBV_WR_LOCAL_INV;
  wqe.route = route_of(request.address);
  wqe.remote_qp = request.remote_qp_num;
  wqe.remote_qkey = request.remote_qkey;
  return wqe;
}

// A datagram to a group leaves the host, and goes to the members within it as ever, unless they are
// to have packets, too. Rings bring it to all who have them.
bool goes_to_group_here(const QueuePair& qp, const SendRequest& request) {
  if (qp.type() != IBV_QPT_UD || !request.address.multicast || !is_routed(request.address))
    return false;
  const int index = index_of_gid(request.address.sgid);
  const auto source = index < 0 ? std::nullopt : gid_at(uint32_t(index));
  return source && source->is_address() && !network_options().packets_only;
}

}  // namespace

int post_packets(QueuePair& qp, const SendRequest& request) {
  PacketQueue& queue = *qp.packets;
  const uint32_t posted = queue.posted.load(std::memory_order_relaxed);
  if (posted - queue.completed.load(std::memory_order_acquire) >= queue.ring.size()) return ENOMEM;
  PacketQueue::Entry& entry = queue.at(posted);
  keep(&entry.send, request);
  entry.wqe = describe(qp, entry.send.request);
  queue.posted.store(posted + 1, std::memory_order_release);
  return 0;
}

QueuePair* PacketDevice::find(uint32_t number) const {
  QueuePair* qp = host_.qps[index_of(number)].load(std::memory_order_acquire);
  return qp && qp->packets && qp->ex.qp_base.qp_num == number ? qp : nullptr;
}

const SendWqe* PacketDevice::send_wqe(uint32_t number, uint32_t index) {
  QueuePair* qp = find(number);
  if (!qp || index == qp->packets->posted.load(std::memory_order_acquire)) return nullptr;
  return &qp->packets->at(index).wqe;
}

bool PacketDevice::gather(uint32_t number, uint32_t index, uint64_t offset, std::span<uint8_t> to) {
  QueuePair* qp = find(number);
  if (!qp) return false;
  const SendRequest& request = qp->packets->at(index).send.request;
  const bool inlined = request.flags & IBV_SEND_INLINE;
  const Site& site = host_.site();
  const Inbound inbound(*qp);
  return walk(request.sge, request.num_sge, offset, to.size(),
              [&](const ibv_sge& sge, uint64_t skip, size_t bytes, size_t done) {
                uint64_t address = sge.addr;
                if (!inlined) {
                  const KeyEntry* entry =
                      find_region(site, sge.lkey, qp->pd, address, sge.length, 0);
                  if (!entry) return false;
                  address += entry->base - entry->iova;
                }
                return copy(to.data() + done, reinterpret_cast<const void*>(address + skip), bytes);
              });
}

bool PacketDevice::scatter(uint32_t number, uint32_t index, uint64_t offset,
                           std::span<const uint8_t> from) {
  QueuePair* qp = find(number);
  if (!qp) return false;
  const SendRequest& request = qp->packets->at(index).send.request;
  const Site& site = host_.site();
  const Inbound inbound(*qp);
  return walk(
      request.sge, request.num_sge, offset, from.size(),
      [&](const ibv_sge& sge, uint64_t skip, size_t bytes, size_t done) {
        const KeyEntry* entry =
            find_region(site, sge.lkey, qp->pd, sge.addr, sge.length, IBV_ACCESS_LOCAL_WRITE);
        return entry && copy(reinterpret_cast<void*>(sge.addr + entry->base - entry->iova + skip),
                             from.data() + done, bytes);
      });
}

ibv_wc_status PacketDevice::run_local(uint32_t number, uint32_t index) {
  QueuePair* qp = find(number);
  if (!qp) return IBV_WC_FATAL_ERR;
  const std::lock_guard guard(qp->send_lock);
  return run_on_this_host(*qp, qp->packets->at(index).send.request);
}

void PacketDevice::complete_send(uint32_t number, uint32_t index, ibv_wc_status status,
                                 uint64_t bytes) {
  QueuePair* qp = find(number);
  if (!qp) return;
  PacketQueue& queue = *qp->packets;
  assert(index == queue.completed.load());
  if (status == IBV_WC_SUCCESS && goes_to_group_here(*qp, queue.at(index).send.request))
    run_local(number, index);
  // A copy: whoever sees the completion may post into the place of the request.
  const SendRequest request = queue.at(index).send.request;
  queue.completed.store(index + 1, std::memory_order_release);
  if (status == IBV_WC_SUCCESS && bytes > 0) {
    queue.operations.fetch_add(1, std::memory_order_relaxed);
    queue.bytes.fetch_add(bytes, std::memory_order_relaxed);
  }
  const bool pushed = complete(*qp, request, status, bytes);
  if (!pushed && status == IBV_WC_SUCCESS) {
    raise(number, IBV_EVENT_QP_FATAL);
    broken_.push_back(number);
  }
  // 10.3.1.7: sends that failed stop the queue; reliable ones put it into the error state, which
  // the engine says itself.
  if (status != IBV_WC_SUCCESS && status != IBV_WC_WR_FLUSH_ERR && !is_reliable(qp->type())) {
    uint32_t rts = IBV_QPS_RTS;
    qp->shared->state.compare_exchange_strong(rts, IBV_QPS_SQE);
  }
  if (queue.connected) return;
  const std::lock_guard guard(qp->send_lock);
  qp->parked_count = queue.posted.load() != index + 1;
}

void PacketDevice::choose_queue(uint32_t number, uint32_t xrc_srq) {
  QueuePair* qp = find(number);
  if (!qp) return;
  PacketQueue& queue = *qp->packets;
  queue.chosen_pd = 0;
  queue.chosen_site = host_.reach(slot_of(xrc_srq));
  const uint32_t index = index_of(xrc_srq);
  if (!queue.chosen_site || index >= max_srq) return;
  const SrqShared& shared = queue.chosen_site->segment->srq[index];
  if (shared.number.load(std::memory_order_acquire) == xrc_srq && shared.type == IBV_SRQT_XRC &&
      shared.xrcd == qp->shared->xrcd)
    queue.chosen_pd = shared.pd;
}

TakenReceive PacketDevice::take_receive(uint32_t number, uint32_t xrc_srq) {
  QueuePair* qp = find(number);
  if (!qp) return {TakenReceive::no_such_queue, 0};
  PacketQueue& queue = *qp->packets;
  Receiving& receiving = queue.receiving;
  QpShared& shared = *qp->shared;
  Site* site = &host_.site();
  SrqShared* shared_queue = nullptr;
  if (qp->type() == IBV_QPT_XRC_RECV) {
    if (queue.chosen_pd == 0) return {TakenReceive::no_such_queue, 0};
    receiving.site = queue.chosen_site;
    site = receiving.site.get();
    shared_queue = &site->segment->srq[index_of(xrc_srq)];
  } else if (qp->srq) {
    shared_queue = qp->srq->shared;
  }
  const Inbound inbound(*qp);
  ++shared.attempts;
  if (shared_queue) {
    TakenWqe taken;
    if (!take_shared_receive(*site, *shared_queue, &taken)) return {TakenReceive::empty, 0};
    receiving.wr_id = taken.wr_id;
    receiving.sge_count = std::min(taken.num_sge, max_sge);
    std::copy_n(taken.sge, receiving.sge_count, receiving.sge);
  } else {
    uint32_t sges = 0;
    const RecvWqe* wqe = next_receive(*site, shared, &sges);
    if (!wqe) return {TakenReceive::empty, 0};
    receiving.wr_id = wqe->wr_id;
    receiving.sge_count = std::min(wqe->num_sge, sges);
    std::copy_n(wqe->sge, receiving.sge_count, receiving.sge);
    // Out of the ring, so that a datagram from this host takes the next one.
    shared.rq_tail.store(shared.rq_tail.load(std::memory_order_relaxed) + 1,
                         std::memory_order_release);
  }
  receiving.present = true;
  receiving.shared_queue = shared_queue;
  uint64_t room = 0;
  for (uint32_t i = 0; i < receiving.sge_count; ++i) room += receiving.sge[i].length;
  return {TakenReceive::taken, room};
}

bool PacketDevice::place(uint32_t number, uint64_t offset, std::span<const uint8_t> from) {
  QueuePair* qp = find(number);
  if (!qp) return false;
  const Receiving& receiving = qp->packets->receiving;
  Site& site = receiving.site ? *receiving.site : host_.site();
  const uint32_t pd = receiving.site ? receiving.shared_queue->pd : qp->pd;
  const Inbound inbound(*qp);
  return walk(
      receiving.sge, receiving.sge_count, offset, from.size(),
      [&](const ibv_sge& sge, uint64_t skip, size_t bytes, size_t done) {
        Span span;
        if (!resolve_local(site, sge.lkey, pd, sge.addr, sge.length, IBV_ACCESS_LOCAL_WRITE, &span))
          return false;
        span.address += skip;
        span.bytes -= skip;
        if (span.mapped) span.mapped += skip;
        const iovec piece{const_cast<uint8_t*>(from.data()) + done, bytes};
        bool by_kernel = false;
        return move_bytes(site, Direction::to_site, {&piece, 1}, {&span, 1}, bytes, &by_kernel) ==
               Moved::all;
      });
}

bool PacketDevice::has_already(uint32_t number, const wire::Gid& source, uint32_t source_qp) {
  ibv_gid gid;
  std::copy(source.begin(), source.end(), gid.raw);
  const int index = index_of_gid(gid);
  const auto own = index < 0 ? std::nullopt : gid_at(uint32_t(index));
  if (!own) return false;
  if (source_qp == number) return true;
  if (!own->is_address() || network_options().packets_only) return false;
  const auto site = host_.reach(slot_of(source_qp));
  return site && site->segment->qp[index_of(source_qp)].qp_num.load() == source_qp &&
         site->segment->wire.packets_only.load() == 0;
}

void PacketDevice::complete_receive(uint32_t number, const ReceiveCompletion& completion) {
  QueuePair* qp = find(number);
  if (!qp) return;
  Receiving& receiving = qp->packets->receiving;
  Cqe cqe{};
  cqe.wr_id = receiving.wr_id;
  cqe.status = completion.status;
  cqe.opcode = completion.opcode;
  cqe.byte_len = uint32_t(completion.bytes);
  cqe.imm_data = completion.immediate;
  cqe.qp_num = number;
  cqe.src_qp = completion.source_qp;
  cqe.wc_flags = completion.flags;
  cqe.solicited = completion.solicited;
  cqe.position = qp->shared->attempts;
  Site& site = receiving.site ? *receiving.site : host_.site();
  const uint32_t cq = receiving.site ? receiving.shared_queue->cq : qp->shared->recv_cq;
  const bool pushed = push_completion(site, cq, cqe);
  receiving.present = false;
  receiving.site.reset();
  if (pushed || completion.status != IBV_WC_SUCCESS) return;
  if (!is_reliable(qp->type()) && qp->type() != IBV_QPT_XRC_RECV) return;
  raise(number, IBV_EVENT_QP_FATAL);
  broken_.push_back(number);
}

bool PacketDevice::resolve(QueuePair& qp, uint32_t rkey, uint64_t address, uint64_t bytes,
                           uint32_t access, std::shared_ptr<Site>* site, Span* span) const {
  const bool xrc = qp.type() == IBV_QPT_XRC_RECV;
  if (xrc && qp.packets->chosen_pd == 0) return false;
  *site = xrc ? qp.packets->chosen_site : host_.self();
  return resolve_remote(**site, rkey, xrc ? qp.packets->chosen_pd : qp.pd, qp.ex.qp_base.qp_num,
                        address, bytes, access, span);
}

bool PacketDevice::permits(uint32_t number, uint32_t rkey, uint64_t address, uint64_t bytes,
                           uint32_t access) {
  QueuePair* qp = find(number);
  if (!qp) return false;
  std::shared_ptr<Site> site;
  Span span;
  const Inbound inbound(*qp);
  return resolve(*qp, rkey, address, bytes, access, &site, &span);
}

bool PacketDevice::read(uint32_t number, uint32_t rkey, uint64_t address, std::span<uint8_t> to) {
  QueuePair* qp = find(number);
  if (!qp) return false;
  std::shared_ptr<Site> site;
  Span span;
  const Inbound inbound(*qp);
  if (!resolve(*qp, rkey, address, to.size(), IBV_ACCESS_REMOTE_READ, &site, &span)) return false;
  const iovec piece{to.data(), to.size()};
  bool by_kernel = false;
  return move_bytes(*site, Direction::from_site, {&piece, 1}, {&span, 1}, to.size(), &by_kernel) ==
         Moved::all;
}

bool PacketDevice::write(uint32_t number, uint32_t rkey, uint64_t address,
                         std::span<const uint8_t> from) {
  QueuePair* qp = find(number);
  if (!qp) return false;
  std::shared_ptr<Site> site;
  Span span;
  const Inbound inbound(*qp);
  if (!resolve(*qp, rkey, address, from.size(), IBV_ACCESS_REMOTE_WRITE, &site, &span))
    return false;
  const iovec piece{const_cast<uint8_t*>(from.data()), from.size()};
  bool by_kernel = false;
  return move_bytes(*site, Direction::to_site, {&piece, 1}, {&span, 1}, from.size(), &by_kernel) ==
         Moved::all;
}

std::optional<uint64_t> PacketDevice::atomic(uint32_t number, ibv_wr_opcode opcode, uint32_t rkey,
                                             uint64_t address, uint64_t compare_add,
                                             uint64_t swap) {
  QueuePair* qp = find(number);
  if (!qp) return std::nullopt;
  std::shared_ptr<Site> site;
  Span span;
  const Inbound inbound(*qp);
  if (!resolve(*qp, rkey, address, sizeof(uint64_t), IBV_ACCESS_REMOTE_ATOMIC, &site, &span) ||
      span.address % sizeof(uint64_t) != 0)
    return std::nullopt;
  uint64_t original = 0;
  bool by_kernel = false;
  if (change_word(*site, span, opcode, compare_add, swap, &original, &by_kernel) != Moved::all)
    return std::nullopt;
  return original;
}

bool PacketDevice::invalidate(uint32_t number, uint32_t rkey) {
  QueuePair* qp = find(number);
  if (!qp) return false;
  Site& site = host_.site();
  const Inbound inbound(*qp);
  const KeyEntry* entry = find_key(site, rkey);
  // 10.6.7.2.6: only what is bound through this very queue pair.
  if (!entry || entry->kind != key_window_2 || entry->pd != qp->pd || entry->qp_num != number)
    return false;
  invalidate_key(site, rkey);
  return true;
}

void PacketDevice::enter_error(uint32_t number) {
  if (QueuePair* qp = find(number)) softhca::enter_error(*qp);
}

void PacketDevice::raise(uint32_t number, ibv_event_type event) {
  if (QueuePair* qp = find(number)) raise_async(host_.site(), qp->shared->context, event, number);
}

}  // namespace softhca
