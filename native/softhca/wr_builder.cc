// The ibv_wr_* interface: work requests built by calls, posted together or not at all.
#include "softhca/wr_builder.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "softhca/mw.h"
#include "softhca/requester.h"
#include "softhca/straight.h"

namespace softhca {

struct Built {
  SendRequest request;
  ibv_sge sge[max_sge];
  uint8_t inline_data[max_inline];
};

struct Builder {
  SpinLock lock;  // from start to complete or abort
  int error = 0;  // the first; complete reports it and posts nothing
  size_t count = 0;
  Built* last = nullptr;  // nullptr if count is 0
  Built first;            // most batches have no more
  std::vector<std::unique_ptr<Built>> more;

  Builder() { first.request.sge = first.sge; }
  Built& at(size_t i) { return i == 0 ? first : *more[i - 1]; }
};

namespace {

Builder& of(ibv_qp_ex* ex) { return *QueuePair::of(&ex->qp_base)->builder; }

[[gnu::noinline]] Built* next_of(Builder& builder) {
  if (builder.count > builder.more.size()) builder.more.push_back(std::make_unique<Built>());
  return &builder.at(builder.count);
}

SendRequest& add(ibv_qp_ex* ex, ibv_wr_opcode opcode) {
  QueuePair& qp = *QueuePair::of(&ex->qp_base);
  Builder& builder = *qp.builder;
  Built* const built = builder.count == 0 ? &builder.first : next_of(builder);
  ++builder.count;
  builder.last = built;
  SendRequest& request = built->request;
  // Of these, run() too reads nothing else.
  if (!may_go_straight(qp, opcode)) request.clear();
  request.wr_id = ex->wr_id;
  request.flags = ex->wr_flags & ~unsigned(IBV_SEND_INLINE);
  request.opcode = opcode;
  request.num_sge = 0;
  request.sge = built->sge;
  return request;
}

// add() for most: the first of a batch, and of an operation that may go straight.
[[gnu::always_inline]] inline SendRequest* add_first(ibv_qp_ex* ex, ibv_wr_opcode opcode) {
  QueuePair& qp = *QueuePair::of(&ex->qp_base);
  Builder& builder = *qp.builder;
  if (builder.count != 0 || !may_go_straight(qp, opcode)) return nullptr;
  builder.count = 1;
  builder.last = &builder.first;
  SendRequest& request = builder.first.request;
  request.wr_id = ex->wr_id;
  request.flags = ex->wr_flags & ~unsigned(IBV_SEND_INLINE);
  request.opcode = opcode;
  request.num_sge = 0;
  return &request;
}

void fail(ibv_qp_ex* ex, int error) {
  if (of(ex).error == 0) of(ex).error = error;
}

// Setters without a request before them, or for one too long, spoil the batch.
Built* current(ibv_qp_ex* ex) {
  Built* const last = of(ex).last;
  if (!last) fail(ex, EINVAL);
  return last;
}

void atomic_cmp_swp(ibv_qp_ex* ex, uint32_t rkey, uint64_t address, uint64_t compare,
                    uint64_t swap) {
  SendRequest& request = add(ex, IBV_WR_ATOMIC_CMP_AND_SWP);
  request.rkey = rkey;
  request.remote_address = address;
  request.compare_add = compare;
  request.swap = swap;
}

void atomic_fetch_add(ibv_qp_ex* ex, uint32_t rkey, uint64_t address, uint64_t amount) {
  SendRequest& request = add(ex, IBV_WR_ATOMIC_FETCH_AND_ADD);
  request.rkey = rkey;
  request.remote_address = address;
  request.compare_add = amount;
}

void bind_mw(ibv_qp_ex* ex, ibv_mw* mw, uint32_t rkey, const ibv_mw_bind_info* info) {
  SendRequest& request = add(ex, IBV_WR_BIND_MW);
  request.window = mw;
  request.rkey = rkey;
  request.bind = *info;
  int error = check_bind(*QueuePair::of(&ex->qp_base), mw, *info, IBV_MW_TYPE_2);
  if (error) fail(ex, error);
}

void local_inv(ibv_qp_ex* ex, uint32_t rkey) { add(ex, IBV_WR_LOCAL_INV).imm = rkey; }

[[gnu::noinline]] void rdma(ibv_qp_ex* ex, ibv_wr_opcode opcode, uint32_t rkey, uint64_t address,
                            uint32_t imm) {
  SendRequest& request = add(ex, opcode);
  request.rkey = rkey;
  request.remote_address = address;
  request.imm = imm;
}
template <ibv_wr_opcode opcode>
void rdma(ibv_qp_ex* ex, uint32_t rkey, uint64_t address) {
  SendRequest* request = add_first(ex, opcode);
  if (!request) return rdma(ex, opcode, rkey, address, 0);
  request->rkey = rkey;
  request->remote_address = address;
}
void rdma_write_imm(ibv_qp_ex* ex, uint32_t rkey, uint64_t address, __be32 imm) {
  rdma(ex, IBV_WR_RDMA_WRITE_WITH_IMM, rkey, address, imm);
}

void send(ibv_qp_ex* ex) {
  if (!add_first(ex, IBV_WR_SEND)) add(ex, IBV_WR_SEND);
}
void send_imm(ibv_qp_ex* ex, __be32 imm) { add(ex, IBV_WR_SEND_WITH_IMM).imm = imm; }
void send_inv(ibv_qp_ex* ex, uint32_t rkey) { add(ex, IBV_WR_SEND_WITH_INV).imm = rkey; }

void set_ud_addr(ibv_qp_ex* ex, ibv_ah* ah, uint32_t qp_num, uint32_t qkey) {
  Built* built = current(ex);
  if (!built) return;
  if (!ah || !AddressHandle::of(ah)->live ||
      ProtectionDomain::of(ah->pd)->id != QueuePair::of(&ex->qp_base)->pd)
    return fail(ex, EINVAL);
  built->request.address = AddressHandle::of(ah)->address;
  built->request.remote_qp_num = qp_num;
  built->request.remote_qkey = qkey;
}

void set_xrc_srqn(ibv_qp_ex* ex, uint32_t number) {
  if (Built* built = current(ex)) built->request.srq_number = number;
}

void set_inline_data_list(ibv_qp_ex* ex, size_t count, const ibv_data_buf* list) {
  Built* built = current(ex);
  if (!built) return;
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    if (list[i].length > max_inline || bytes + list[i].length > max_inline) return fail(ex, EINVAL);
    bytes += list[i].length;
  }
  uint8_t* to = built->inline_data;
  for (size_t i = 0; i < count; ++i) {
    if (list[i].length != 0) memcpy(to, list[i].addr, list[i].length);
    to += list[i].length;
  }
  built->sge[0] = {reinterpret_cast<uint64_t>(built->inline_data), uint32_t(bytes), 0};
  built->request.num_sge = 1;
  built->request.flags |= IBV_SEND_INLINE;
}

void set_inline_data(ibv_qp_ex* ex, void* address, size_t length) {
  Built* built = current(ex);
  if (!built) return;
  if (length > max_inline) return fail(ex, EINVAL);
  if (length == 8) {
    memcpy(built->inline_data, address, 8);
  } else if (length != 0) {
    memcpy(built->inline_data, address, length);
  }
  built->sge[0] = {reinterpret_cast<uint64_t>(built->inline_data), uint32_t(length), 0};
  built->request.num_sge = 1;
  built->request.flags |= IBV_SEND_INLINE;
}

void set_sge_list(ibv_qp_ex* ex, size_t count, const ibv_sge* list) {
  Built* built = current(ex);
  if (!built) return;
  if (count > max_sge) return fail(ex, EINVAL);
  for (size_t i = 0; i < count; ++i) built->sge[i] = list[i];
  built->request.num_sge = uint32_t(count);
}

void set_sge(ibv_qp_ex* ex, uint32_t lkey, uint64_t address, uint32_t length) {
  Built* built = current(ex);
  if (!built) return;
  built->sge[0] = {address, length, lkey};
  built->request.num_sge = 1;
}

void atomic_write(ibv_qp_ex* ex, uint32_t rkey, uint64_t address, const void* value) {
  rdma(ex, IBV_WR_ATOMIC_WRITE, rkey, address, 0);
  set_inline_data(ex, const_cast<void*>(value), 8);
}

bool usable(const QueuePair& qp) {
  return qp.live.load(std::memory_order_relaxed) && qp.host->usable();
}

inline void begin(Builder& builder) {
  builder.count = 0;
  builder.last = nullptr;
  builder.error = 0;
}

[[gnu::noinline]] void lock_and_begin(Builder& builder) {
  builder.lock.lock();
  begin(builder);
}

void start(ibv_qp_ex* ex) {
  Builder& builder = of(ex);
  if (!builder.lock.try_side()) return lock_and_begin(builder);
  begin(builder);
}

[[gnu::noinline]] int submit_all(QueuePair& qp, Builder& builder) {
  int error = 0;
  for (size_t i = 0; i < builder.count && !error; ++i)
    error = check_send(qp, builder.at(i).request);
  if (!error && builder.count > free_sends(qp)) error = ENOMEM;
  for (size_t i = 0; i < builder.count && !error; ++i) error = submit(qp, builder.at(i).request);
  return error;
}

[[gnu::noinline]] int complete_any(QueuePair& qp, Builder& builder) {
  int error = usable(qp) ? builder.error : EINVAL;
  bool parked = false;
  if (!error) {
    std::lock_guard guard(qp.send_lock);
    if (builder.count != 1 || !run_straight(qp, builder.first.request)) {
      error = submit_all(qp, builder);
      parked = qp.parked_count != 0;
    }
  }
  builder.lock.unlock();
  if (parked) qp.host->enlist(&qp);
  return error;
}

int complete(ibv_qp_ex* ex) {
  QueuePair& qp = *QueuePair::of(&ex->qp_base);
  Builder& builder = *qp.builder;
  if (builder.count != 1 || builder.error || !usable(qp) ||
      !post_straight(qp, builder.first.request))
    return complete_any(qp, builder);
  builder.lock.unlock();
  return 0;
}

void abort(ibv_qp_ex* ex) { of(ex).lock.unlock(); }

constexpr struct {
  uint64_t flag;
  ibv_wr_opcode opcode;
} offered[] = {
    {IBV_QP_EX_WITH_RDMA_WRITE, IBV_WR_RDMA_WRITE},
    {IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM, IBV_WR_RDMA_WRITE_WITH_IMM},
    {IBV_QP_EX_WITH_SEND, IBV_WR_SEND},
    {IBV_QP_EX_WITH_SEND_WITH_IMM, IBV_WR_SEND_WITH_IMM},
    {IBV_QP_EX_WITH_RDMA_READ, IBV_WR_RDMA_READ},
    {IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP, IBV_WR_ATOMIC_CMP_AND_SWP},
    {IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD, IBV_WR_ATOMIC_FETCH_AND_ADD},
    {IBV_QP_EX_WITH_LOCAL_INV, IBV_WR_LOCAL_INV},
    {IBV_QP_EX_WITH_BIND_MW, IBV_WR_BIND_MW},
    {IBV_QP_EX_WITH_SEND_WITH_INV, IBV_WR_SEND_WITH_INV},
    {IBV_QP_EX_WITH_ATOMIC_WRITE, IBV_WR_ATOMIC_WRITE},
};

}  // namespace

bool builder_offers(ibv_qp_type type, uint64_t send_ops) {
  for (auto& row : offered) {
    if (!(send_ops & row.flag)) continue;
    if (!opcode_allowed(type, row.opcode)) return false;
    send_ops &= ~row.flag;
  }
  return send_ops == 0;
}

void fill_builder(QueuePair& qp, uint64_t ops) {
  qp.builder = new Builder;
  ibv_qp_ex& ex = qp.ex;
  if (ops & IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP) ex.wr_atomic_cmp_swp = atomic_cmp_swp;
  if (ops & IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD) ex.wr_atomic_fetch_add = atomic_fetch_add;
  if (ops & IBV_QP_EX_WITH_ATOMIC_WRITE) ex.wr_atomic_write = atomic_write;
  if (ops & IBV_QP_EX_WITH_BIND_MW) ex.wr_bind_mw = bind_mw;
  if (ops & IBV_QP_EX_WITH_LOCAL_INV) ex.wr_local_inv = local_inv;
  if (ops & IBV_QP_EX_WITH_RDMA_READ) ex.wr_rdma_read = rdma<IBV_WR_RDMA_READ>;
  if (ops & IBV_QP_EX_WITH_RDMA_WRITE) ex.wr_rdma_write = rdma<IBV_WR_RDMA_WRITE>;
  if (ops & IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM) ex.wr_rdma_write_imm = rdma_write_imm;
  if (ops & IBV_QP_EX_WITH_SEND) ex.wr_send = send;
  if (ops & IBV_QP_EX_WITH_SEND_WITH_IMM) ex.wr_send_imm = send_imm;
  if (ops & IBV_QP_EX_WITH_SEND_WITH_INV) ex.wr_send_inv = send_inv;
  ex.wr_set_ud_addr = set_ud_addr;
  ex.wr_set_xrc_srqn = set_xrc_srqn;
  ex.wr_set_inline_data = set_inline_data;
  ex.wr_set_inline_data_list = set_inline_data_list;
  ex.wr_set_sge = set_sge;
  ex.wr_set_sge_list = set_sge_list;
  ex.wr_start = start;
  ex.wr_complete = complete;
  ex.wr_abort = abort;
}

void free_builder(Builder* builder) { delete builder; }

}  // namespace softhca
