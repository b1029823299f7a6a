// Completions from the provider to a ring.
#include <algorithm>
#include <cerrno>

#include "verbs/rings.h"

namespace viaduct::verbs {

namespace {

// Reads of fields that the queue wasn't made for are not allowed (ibv_create_cq_ex(3)), nor are
// most of them on a completion in error.
void read(const CompletionQueue& queue, ExtendedCompletion& completion) {
  ibv_cq_ex* cq = queue.extended;
  const auto has = [&](uint64_t flag) { return (queue.wc_flags & flag) != 0; };
  completion = {};
  ibv_wc& wc = completion.wc;
  wc.wr_id = cq->wr_id;
  wc.status = cq->status;
  wc.vendor_err = ibv_wc_read_vendor_err(cq);
  if (has(IBV_WC_EX_WITH_QP_NUM)) wc.qp_num = ibv_wc_read_qp_num(cq);
  if (wc.status != IBV_WC_SUCCESS) return;
  wc.opcode = ibv_wc_read_opcode(cq);
  wc.wc_flags = ibv_wc_read_wc_flags(cq);
  if (has(IBV_WC_EX_WITH_BYTE_LEN)) wc.byte_len = ibv_wc_read_byte_len(cq);
  if (has(IBV_WC_EX_WITH_IMM) && (wc.wc_flags & (IBV_WC_WITH_IMM | IBV_WC_WITH_INV)) != 0) {
    wc.imm_data = ibv_wc_read_imm_data(cq);
  }
  if (has(IBV_WC_EX_WITH_SRC_QP)) wc.src_qp = ibv_wc_read_src_qp(cq);
  if (has(IBV_WC_EX_WITH_SLID)) wc.slid = static_cast<uint16_t>(ibv_wc_read_slid(cq));
  if (has(IBV_WC_EX_WITH_SL)) wc.sl = ibv_wc_read_sl(cq);
  if (has(IBV_WC_EX_WITH_DLID_PATH_BITS)) wc.dlid_path_bits = ibv_wc_read_dlid_path_bits(cq);
  if (has(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP)) {
    completion.completion_timestamp = ibv_wc_read_completion_ts(cq);
  }
  if (has(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK)) {
    completion.wallclock_ns = ibv_wc_read_completion_wallclock_ns(cq);
  }
}

int poll_extended(const CompletionQueue& queue, const Ring& ring, uint32_t max) {
  ibv_poll_cq_attr attr = {};
  int error = ibv_start_poll(queue.extended, &attr);
  if (error == ENOENT) return 0;
  if (error != 0) return -error;
  uint32_t count = 0;
  do {
    read(queue, *reinterpret_cast<ExtendedCompletion*>(ring.slot(count++)));
    error = count < max ? ibv_next_poll(queue.extended) : ENOENT;
  } while (error == 0);
  ibv_end_poll(queue.extended);
  // What was read counts, even if the next could not be: it fails again at the next call.
  return static_cast<int>(count);
}

}  // namespace

int poll(const CompletionQueue& cq, const Ring& ring, uint32_t max) {
  const uint32_t room = std::min(max, ring.capacity);
  if (room == 0) return 0;
  if (cq.extended != nullptr) {
    return ring.ring_kind == RingKind::extended_completion ? poll_extended(cq, ring, room)
                                                           : -EINVAL;
  }
  if (ring.ring_kind != RingKind::completion) return -EINVAL;
  const int count =
      ibv_poll_cq(cq.verbs, static_cast<int>(room), reinterpret_cast<ibv_wc*>(ring.data));
  return count >= 0 ? count : -EIO;
}

}  // namespace viaduct::verbs
