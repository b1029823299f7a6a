// The device as the transport engine sees it: the rings of queue pairs, the table of keys, and
// completions. All of it runs under the network's lock.
#pragma once

#include <vector>

#include "softhca/host.h"
#include "softhca/packet_queue.h"
#include "softhca/transport/device.h"

namespace softhca {

class PacketDevice : public transport::Device {
 public:
  explicit PacketDevice(Host& host) : host_(host) {}

  const transport::SendWqe* send_wqe(uint32_t qp, uint32_t index) override;
  bool gather(uint32_t qp, uint32_t index, uint64_t offset, std::span<uint8_t> to) override;
  bool scatter(uint32_t qp, uint32_t index, uint64_t offset,
               std::span<const uint8_t> from) override;
  ibv_wc_status run_local(uint32_t qp, uint32_t index) override;
  void complete_send(uint32_t qp, uint32_t index, ibv_wc_status status, uint64_t bytes) override;
  transport::TakenReceive take_receive(uint32_t qp, uint32_t xrc_srq) override;
  bool place(uint32_t qp, uint64_t offset, std::span<const uint8_t> from) override;
  bool has_already(uint32_t qp, const wire::Gid& source, uint32_t source_qp) override;
  void complete_receive(uint32_t qp, const transport::ReceiveCompletion& completion) override;
  void choose_queue(uint32_t qp, uint32_t xrc_srq) override;
  bool permits(uint32_t qp, uint32_t rkey, uint64_t address, uint64_t bytes,
               uint32_t access) override;
  bool read(uint32_t qp, uint32_t rkey, uint64_t address, std::span<uint8_t> to) override;
  bool write(uint32_t qp, uint32_t rkey, uint64_t address, std::span<const uint8_t> from) override;
  std::optional<uint64_t> atomic(uint32_t qp, ibv_wr_opcode opcode, uint32_t rkey, uint64_t address,
                                 uint64_t compare_add, uint64_t swap) override;
  bool invalidate(uint32_t qp, uint32_t rkey) override;
  void enter_error(uint32_t qp) override;
  void raise(uint32_t qp, ibv_event_type event) override;

  // Queue pairs that couldn't complete something: the engine is to put them into the error state.
  std::vector<uint32_t>& broken() { return broken_; }

 private:
  // nullptr: there is no such queue pair, or its messages are no packets.
  QueuePair* find(uint32_t qp) const;
  bool resolve(QueuePair& qp, uint32_t rkey, uint64_t address, uint64_t bytes, uint32_t access,
               std::shared_ptr<Site>* site, struct Span* span) const;

  Host& host_;
  std::vector<uint32_t> broken_;
};

}  // namespace softhca
