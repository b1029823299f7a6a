// What the engine asks of the device that owns it: queues of work requests, memory, completions.
//
// Queue pairs are named by their number. A send work request is named by its place in the queue,
// counted from 0 and wrapping around at 2^32. No function may call the engine.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <optional>
#include <span>

#include "softhca/wire/route.h"

namespace softhca::transport {

struct SendWqe {
  ibv_wr_opcode opcode = IBV_WR_SEND;
  bool solicited = false;
  bool fence = false;
  uint32_t immediate = 0;  // in network order; or the key to invalidate
  uint64_t bytes = 0;
  uint64_t remote_address = 0;
  uint32_t rkey = 0;
  uint64_t compare_add = 0, swap = 0;
  uint32_t srq = 0;  // XRC
  // UD
  wire::Route route{};
  uint32_t remote_qp = 0, remote_qkey = 0;
};

struct ReceiveCompletion {
  ibv_wc_status status = IBV_WC_SUCCESS;
  ibv_wc_opcode opcode = IBV_WC_RECV;
  uint64_t bytes = 0;      // UD: with the 40 bytes of the GRH
  uint32_t flags = 0;      // ibv_wc_flags
  uint32_t immediate = 0;  // in network order; or the key that was invalidated
  uint32_t source_qp = 0;
  bool solicited = false;
};

struct TakenReceive {
  enum { taken, empty, no_such_queue } result = empty;
  uint64_t bytes = 0;  // room in its scatter list
};

class Device {
 public:
  virtual ~Device() = default;

  // The request at that place, or nullptr if none is posted there yet. Valid until its completion.
  virtual const SendWqe* send_wqe(uint32_t qp, uint32_t index) = 0;
  // Copies from its gather list, or into it. False: the memory can't be accessed.
  virtual bool gather(uint32_t qp, uint32_t index, uint64_t offset, std::span<uint8_t> to) = 0;
  virtual bool scatter(uint32_t qp, uint32_t index, uint64_t offset,
                       std::span<const uint8_t> from) = 0;
  // Carries out a request that concerns no peer: IBV_WR_LOCAL_INV, IBV_WR_BIND_MW.
  virtual ibv_wc_status run_local(uint32_t qp, uint32_t index) = 0;
  // In the order of the queue, each once; whether the program learns of it is the device's to know.
  virtual void complete_send(uint32_t qp, uint32_t index, ibv_wc_status status, uint64_t bytes) = 0;

  // XRC: the receive queue that the request at hand names.
  virtual void choose_queue(uint32_t /*qp*/, uint32_t /*xrc_srq*/) {}
  // Takes the next receive of the queue pair, or of a shared queue (XRC: of that named); it is the
  // queue pair's current one until completed.
  virtual TakenReceive take_receive(uint32_t qp, uint32_t xrc_srq) = 0;
  virtual bool place(uint32_t qp, uint64_t offset, std::span<const uint8_t> from) = 0;
  // Whether a datagram to a group came back here to who sent it, or to who was given it otherwise.
  virtual bool has_already(uint32_t /*qp*/, const wire::Gid& /*source*/, uint32_t /*source_qp*/) {
    return false;
  }
  virtual void complete_receive(uint32_t qp, const ReceiveCompletion& completion) = 0;

  // Whether the peer may do that: an ibv_access_flags, on memory that a remote key names.
  virtual bool permits(uint32_t qp, uint32_t rkey, uint64_t address, uint64_t bytes,
                       uint32_t access) = 0;
  // Ask again themselves, as a key may be gone since. Eight aligned bytes are written at once.
  virtual bool read(uint32_t qp, uint32_t rkey, uint64_t address, std::span<uint8_t> to) = 0;
  virtual bool write(uint32_t qp, uint32_t rkey, uint64_t address,
                     std::span<const uint8_t> from) = 0;
  // The word before, or nothing if it can't be accessed; `swap` is for IBV_WR_ATOMIC_CMP_AND_SWP.
  virtual std::optional<uint64_t> atomic(uint32_t qp, ibv_wr_opcode opcode, uint32_t rkey,
                                         uint64_t address, uint64_t compare_add, uint64_t swap) = 0;
  virtual bool invalidate(uint32_t qp, uint32_t rkey) = 0;

  // The queue pair is in the error state, and sends are flushed: flush its receives.
  virtual void enter_error(uint32_t qp) = 0;
  virtual void raise(uint32_t qp, ibv_event_type event) = 0;
};

}  // namespace softhca::transport
