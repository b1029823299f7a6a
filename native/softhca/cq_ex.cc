// The extended polling interface: start, read fields, next, end.
#include "softhca/cq_ex.h"

#include <cerrno>

#include "softhca/cq.h"

namespace softhca {
namespace {

CompletionQueue& of(ibv_cq_ex* ex) { return *CompletionQueue::of(ibv_cq_ex_to_cq(ex)); }

int step(CompletionQueue& cq) {
  if (!take_completion(cq, [&](const Cqe& cqe) { copy_fields(cqe, &cq.current); })) return ENOENT;
  cq.ex.status = believed_status(cq.current.status);
  cq.ex.wr_id = cq.current.wr_id;
  return 0;
}

int start_poll(ibv_cq_ex* ex, ibv_poll_cq_attr* attr) {
  CompletionQueue& cq = of(ex);
  if (!cq.live || !cq.host->usable() || (attr && attr->comp_mask)) return EINVAL;
  if (cq.host->has_parked()) cq.host->progress(!has_completion(cq));
  cq.consumer.lock();
  int rc = step(cq);
  // Held from a successful start until the end of the poll, as ibv_create_cq_ex(3) has it.
  if (rc != 0) cq.consumer.unlock();
  return rc;
}

int next_poll(ibv_cq_ex* ex) { return step(of(ex)); }
void end_poll(ibv_cq_ex* ex) { of(ex).consumer.unlock(); }

ibv_wc_opcode read_opcode(ibv_cq_ex* ex) { return ibv_wc_opcode(of(ex).current.opcode); }
uint32_t read_vendor_err(ibv_cq_ex* ex) { return of(ex).current.vendor_err; }
uint32_t read_byte_len(ibv_cq_ex* ex) { return of(ex).current.byte_len; }
__be32 read_imm_data(ibv_cq_ex* ex) { return of(ex).current.imm_data; }
uint32_t read_qp_num(ibv_cq_ex* ex) { return of(ex).current.qp_num; }
uint32_t read_src_qp(ibv_cq_ex* ex) { return of(ex).current.src_qp; }
unsigned int read_wc_flags(ibv_cq_ex* ex) { return of(ex).current.wc_flags; }
uint32_t read_slid(ibv_cq_ex* ex) { return of(ex).current.slid; }
uint8_t read_sl(ibv_cq_ex* ex) { return of(ex).current.sl; }
uint8_t read_dlid_path_bits(ibv_cq_ex*) { return 0; }
uint64_t read_completion_ts(ibv_cq_ex* ex) { return of(ex).current.timestamp_ns; }

}  // namespace

void fill_extended_operations(ibv_cq_ex* cq) {
  cq->start_poll = start_poll;
  cq->next_poll = next_poll;
  cq->end_poll = end_poll;
  cq->read_opcode = read_opcode;
  cq->read_vendor_err = read_vendor_err;
  cq->read_byte_len = read_byte_len;
  cq->read_imm_data = read_imm_data;
  cq->read_qp_num = read_qp_num;
  cq->read_src_qp = read_src_qp;
  cq->read_wc_flags = read_wc_flags;
  cq->read_slid = read_slid;
  cq->read_sl = read_sl;
  cq->read_dlid_path_bits = read_dlid_path_bits;
  cq->read_completion_ts = read_completion_ts;
  cq->read_completion_wallclock_ns = read_completion_ts;
}

}  // namespace softhca
