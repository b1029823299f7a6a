#include "softhca/tests/transport_model.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>

namespace softhca::test {

using transport::TakenReceive;

uint8_t* Pipe::reserve(const wire::Route& route, size_t bytes) {
  next_.route = route;
  next_.bytes.assign(bytes, 0xcd);
  return next_.bytes.data();
}

void Pipe::flush(uint64_t) {
  if (peer_) std::move(sent_.begin(), sent_.end(), std::back_inserter(peer_->arrived_));
  sent_.clear();
}

size_t Pipe::receive(std::span<transport::Datagram> into, uint64_t) {
  const size_t count = std::min(into.size(), arrived_.size());
  received_.assign(std::make_move_iterator(arrived_.begin()),
                   std::make_move_iterator(arrived_.begin() + ptrdiff_t(count)));
  arrived_.erase(arrived_.begin(), arrived_.begin() + ptrdiff_t(count));
  for (size_t i = 0; i < count; ++i) into[i] = {received_[i].route, received_[i].bytes, 0};
  return count;
}

std::span<uint8_t> ModelDevice::memory(uint64_t address, uint64_t bytes) {
  const uint64_t at = address - base_;
  if (address < base_ || at > memory_.size() || bytes > memory_.size() - at) abort();
  return std::span(memory_).subspan(at, bytes);
}
uint64_t ModelDevice::load_word(uint64_t address) {
  uint64_t value;
  memcpy(&value, memory(address, sizeof value).data(), sizeof value);
  return value;
}
void ModelDevice::store_word(uint64_t address, uint64_t value) {
  memcpy(memory(address, sizeof value).data(), &value, sizeof value);
}

ModelDevice::Send* ModelDevice::find(uint32_t qp, uint32_t index) {
  Queues& queues = queues_[qp];
  const uint32_t at = index - queues.completed;
  return at < queues.sends.size() ? &queues.sends[at] : nullptr;
}

const transport::SendWqe* ModelDevice::send_wqe(uint32_t qp, uint32_t index) {
  const Send* send = find(qp, index);
  return send ? &send->wqe : nullptr;
}

// Address 0 stands for memory that is gone.
bool ModelDevice::gather(uint32_t qp, uint32_t index, uint64_t offset, std::span<uint8_t> to) {
  const Send* send = find(qp, index);
  if (!send) abort();
  if (offset + to.size() > send->wqe.bytes) abort();
  if (send->local == 0) return false;
  const auto from = memory(send->local + offset, to.size());
  std::copy(from.begin(), from.end(), to.begin());
  return true;
}

bool ModelDevice::scatter(uint32_t qp, uint32_t index, uint64_t offset,
                          std::span<const uint8_t> from) {
  const Send* send = find(qp, index);
  if (!send) abort();
  if (offset + from.size() > send->wqe.bytes) abort();
  if (send->local == 0) return false;
  std::copy(from.begin(), from.end(), memory(send->local + offset, from.size()).begin());
  return true;
}

ibv_wc_status ModelDevice::run_local(uint32_t qp, uint32_t index) {
  Region& region = regions_[find(qp, index)->wqe.immediate];
  const bool was_valid = region.valid;
  region.valid = false;
  return was_valid ? IBV_WC_SUCCESS : IBV_WC_MW_BIND_ERR;
}

void ModelDevice::complete_send(uint32_t qp, uint32_t index, ibv_wc_status status, uint64_t bytes) {
  Queues& queues = queues_[qp];
  // Each once, in order.
  if (index != queues.completed || queues.sends.empty()) abort();
  ++queues.completed;
  queues.sends.pop_front();
  queues.sent.push_back({index, status, bytes});
}

TakenReceive ModelDevice::take_receive(uint32_t qp, uint32_t xrc_srq) {
  Queues& queues = queues_[qp];
  if (queues.has_taken) abort();
  if (xrc_srq == 0xffffff) return {TakenReceive::no_such_queue, 0};
  if (queues.receives.empty()) return {TakenReceive::empty, 0};
  queues.taken = queues.receives.front();
  queues.receives.pop_front();
  queues.has_taken = true;
  return {TakenReceive::taken, queues.taken.bytes};
}

bool ModelDevice::place(uint32_t qp, uint64_t offset, std::span<const uint8_t> from) {
  Queues& queues = queues_[qp];
  if (!queues.has_taken || offset + from.size() > queues.taken.bytes) abort();
  if (queues.taken.local == 0) return false;
  std::copy(from.begin(), from.end(), memory(queues.taken.local + offset, from.size()).begin());
  return true;
}

void ModelDevice::complete_receive(uint32_t qp, const transport::ReceiveCompletion& completion) {
  Queues& queues = queues_[qp];
  if (!queues.has_taken) abort();
  queues.has_taken = false;
  queues.received.push_back(completion);
}

bool ModelDevice::permits(uint32_t, uint32_t rkey, uint64_t address, uint64_t bytes,
                          uint32_t access) {
  const auto found = regions_.find(rkey);
  if (found == regions_.end()) return false;
  const Region& region = found->second;
  return region.valid && (region.access & access) && address >= region.begin &&
         address - region.begin <= region.bytes && bytes <= region.bytes - (address - region.begin);
}

bool ModelDevice::read(uint32_t qp, uint32_t rkey, uint64_t address, std::span<uint8_t> to) {
  if (!permits(qp, rkey, address, to.size(), IBV_ACCESS_REMOTE_READ)) return false;
  const auto from = memory(address, to.size());
  std::copy(from.begin(), from.end(), to.begin());
  return true;
}

bool ModelDevice::write(uint32_t qp, uint32_t rkey, uint64_t address,
                        std::span<const uint8_t> from) {
  if (!permits(qp, rkey, address, from.size(), IBV_ACCESS_REMOTE_WRITE)) return false;
  std::copy(from.begin(), from.end(), memory(address, from.size()).begin());
  return true;
}

std::optional<uint64_t> ModelDevice::atomic(uint32_t qp, ibv_wr_opcode opcode, uint32_t rkey,
                                            uint64_t address, uint64_t compare_add, uint64_t swap) {
  if (!permits(qp, rkey, address, sizeof(uint64_t), IBV_ACCESS_REMOTE_ATOMIC)) return std::nullopt;
  ++atomics;
  const uint64_t original = load_word(address);
  if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
    store_word(address, original + compare_add);
  } else if (original == compare_add) {
    store_word(address, swap);
  }
  return original;
}

bool ModelDevice::invalidate(uint32_t, uint32_t rkey) {
  const auto found = regions_.find(rkey);
  if (found == regions_.end() || !found->second.valid) return false;
  found->second.valid = false;
  return true;
}

void ModelDevice::enter_error(uint32_t qp) {
  Queues& queues = queues_[qp];
  if (queues.in_error || queues.has_taken) abort();
  queues.in_error = true;
}

void connect(End& a, End& b, const Connection& connection) {
  for (End* end : {&a, &b}) {
    transport::QueuePairOptions options;
    options.type = connection.type;
    options.send_depth = connection.send_depth;
    options.max_dest_rd_atomic = connection.receiving.max_dest_rd_atomic;
    transport::ReceiveAttributes receiving = connection.receiving;
    receiving.dest_qp = connection.number;
    receiving.route.source = end == &a ? connection.a : connection.b;
    receiving.route.destination = end == &a ? connection.b : connection.a;
    receiving.route.source_port = connection.source_port;
    receiving.rq_psn = connection.sending.sq_psn;
    if (!end->engine->create(connection.number, options) ||
        !end->engine->to_rtr(connection.number, receiving) ||
        !end->engine->to_rts(connection.number, connection.sending))
      abort();
  }
}

bool End::turn(uint64_t now_ns) {
  transport::Datagram arrived[16];
  bool moved = false;
  while (const size_t count = link->receive(arrived, now_ns)) {
    for (size_t i = 0; i < count; ++i) engine->receive(arrived[i], now_ns);
    moved = true;
  }
  const uint64_t sent = engine->counters()[transport::Counter::packets_sent];
  engine->transmit(now_ns, 64);
  moved = moved || sent != engine->counters()[transport::Counter::packets_sent];
  link->flush(now_ns);
  return moved;
}

}  // namespace softhca::test
