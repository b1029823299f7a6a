// Queue pairs: creation, states, receive posting. Sending is in requester, arriving in responder.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <memory>
#include <vector>

#include "softhca/ah.h"
#include "softhca/cq.h"
#include "softhca/pd.h"
#include "softhca/srq.h"

namespace softhca {

// A send work request that waits for its turn; its gather list and inline data are its own.
struct ParkedSend;

struct Builder;  // of ibv_wr_*
struct PacketQueue;

enum class Wait { nothing, receive, path };

struct QueuePair {
  ibv_qp_ex ex{};  // begins with ibv_qp
  std::atomic<bool> live{};
  bool signal_all{};
  uint32_t index{};
  Host* host{};
  QpShared* shared{};
  ibv_qp_attr attr{};  // as modified so far
  ibv_qp_init_attr init{};
  Address address{};
  uint32_t pd{};
  uint32_t opcodes{};   // a bit for each ibv_wr_opcode that its type has
  uint64_t send_ops{};  // 0: made without the extended interface
  CompletionQueue* send_cq{};
  CompletionQueue* recv_cq{};
  SharedReceiveQueue* srq{};
  XrcDomain* xrcd{};
  std::atomic<uint32_t> async_taken{};
  std::atomic<uint32_t> groups{};  // multicast groups it is in
  ibv_ece ece{};

  SpinLock send_lock{};  // guards all below but the last line
  std::shared_ptr<Site> peer{};
  uint32_t straight{};           // opcodes that may go straight, a bit for each: see straight.h
  QpShared* peer_qp{};           // whose they are then
  std::vector<ParkedSend> ring;  // made when first needed
  uint32_t parked_first{};
  uint32_t parked_count{};
  uint32_t draining{};  // SQD: parked work that was there before
  bool notify_drained{};
  Wait wait{};
  uint64_t deadline_ns{};
  std::atomic<uint32_t> sent{};     // requests posted so far
  std::atomic<uint32_t> retired{};  // of these, whose places are free again; polling counts it up
  uint64_t operations[2]{};         // that moved data: directly, by the kernel
  uint64_t bytes[2]{};

  SpinLock recv_lock{};
  // The receive ring; the private copies are the ones believed.
  uint8_t* receives{};
  uint32_t receives_taken{};  // as seen last: saves post_recv the line that peers write
  std::atomic<uint32_t> receives_polled{};  // mostly saves it that look, too; polling counts it up
  uint32_t receive_slots{};                 // a power of two, 0: none
  uint64_t receive_offset{};
  bool enlisted{};  // guarded by the host

  // While its messages are packets (packet_path.h); changes under send_lock and the network's. Of a
  // connected queue pair `parked_count` is 1 then, else 1 while packets wait to be sent.
  std::unique_ptr<PacketQueue> packets;

  Builder* builder{};  // of ibv_wr_*

  ibv_qp* verbs() { return &ex.qp_base; }
  static QueuePair* of(ibv_qp* qp) { return reinterpret_cast<QueuePair*>(qp); }
  ibv_qp_type type() const { return ex.qp_base.qp_type; }

  QueuePair();
  ~QueuePair();
};

ibv_qp* create_qp(ibv_pd* pd, ibv_qp_init_attr* attr);
ibv_qp* create_qp_ex(ibv_context* context, ibv_qp_init_attr_ex* attr);
int destroy_qp(ibv_qp* qp);
int modify_qp(ibv_qp* qp, ibv_qp_attr* attr, int mask);
int query_qp(ibv_qp* qp, ibv_qp_attr* attr, int mask, ibv_qp_init_attr* init);
int post_recv(ibv_qp* qp, ibv_recv_wr* wr, ibv_recv_wr** bad);

// Takes the receive queue's lock and sets the error state, as a failed send does.
void enter_error(QueuePair& qp);

}  // namespace softhca
