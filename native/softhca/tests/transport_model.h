// A device for the transport engine that consists of vectors, and a network of memory: what tests
// and fuzzers drive the engine with.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "softhca/links/link.h"
#include "softhca/transport/engine.h"

namespace softhca::test {

// The links of two ends; what one sends, the other receives.
class Pipe : public links::Link {
 public:
  struct Packet {
    wire::Route route;
    std::vector<uint8_t> bytes;
  };

  void connect(Pipe& peer) { peer_ = &peer; }

  uint8_t* reserve(const wire::Route& route, size_t bytes) override;
  void send() override { sent_.push_back(next_); }
  void flush(uint64_t now_ns) override;
  size_t receive(std::span<transport::Datagram> into, uint64_t now_ns) override;

  // What was sent and not flushed.
  std::vector<Packet>& sent() { return sent_; }

 private:
  Pipe* peer_ = nullptr;
  Packet next_;
  std::vector<Packet> sent_;
  std::deque<Packet> arrived_;
  std::vector<Packet> received_;
};

class ModelDevice : public transport::Device {
 public:
  struct Region {
    uint64_t begin, bytes;
    uint32_t access;
    bool valid = true;
  };
  struct Send {
    transport::SendWqe wqe;
    uint64_t local;  // an address
  };
  struct SendCompletion {
    uint32_t index;
    ibv_wc_status status;
    uint64_t bytes;
  };
  struct Receive {
    uint64_t local, bytes;
  };
  struct Queues {
    std::deque<Send> sends;
    std::vector<SendCompletion> sent;
    uint32_t completed = 0;
    std::deque<Receive> receives;
    Receive taken{};
    bool has_taken = false;
    std::vector<transport::ReceiveCompletion> received;
    std::vector<ibv_event_type> events;
    bool in_error = false;
  };

  // Addresses are offsets from `base` into memory.
  explicit ModelDevice(size_t memory_bytes, uint64_t base = 0x10000)
      : base_(base), memory_(memory_bytes) {}

  std::span<uint8_t> memory(uint64_t address, uint64_t bytes);
  uint64_t load_word(uint64_t address);
  void store_word(uint64_t address, uint64_t value);
  void add_region(uint32_t rkey, uint64_t address, uint64_t bytes, uint32_t access) {
    regions_[rkey] = {address, bytes, access};
  }
  Region& region(uint32_t rkey) { return regions_[rkey]; }
  Queues& of(uint32_t qp) { return queues_[qp]; }
  uint32_t atomics = 0;  // carried out

  const transport::SendWqe* send_wqe(uint32_t qp, uint32_t index) override;
  bool gather(uint32_t qp, uint32_t index, uint64_t offset, std::span<uint8_t> to) override;
  bool scatter(uint32_t qp, uint32_t index, uint64_t offset,
               std::span<const uint8_t> from) override;
  ibv_wc_status run_local(uint32_t qp, uint32_t index) override;
  void complete_send(uint32_t qp, uint32_t index, ibv_wc_status status, uint64_t bytes) override;
  transport::TakenReceive take_receive(uint32_t qp, uint32_t xrc_srq) override;
  bool place(uint32_t qp, uint64_t offset, std::span<const uint8_t> from) override;
  void complete_receive(uint32_t qp, const transport::ReceiveCompletion& completion) override;
  bool permits(uint32_t qp, uint32_t rkey, uint64_t address, uint64_t bytes,
               uint32_t access) override;
  bool read(uint32_t qp, uint32_t rkey, uint64_t address, std::span<uint8_t> to) override;
  bool write(uint32_t qp, uint32_t rkey, uint64_t address, std::span<const uint8_t> from) override;
  std::optional<uint64_t> atomic(uint32_t qp, ibv_wr_opcode opcode, uint32_t rkey, uint64_t address,
                                 uint64_t compare_add, uint64_t swap) override;
  bool invalidate(uint32_t qp, uint32_t rkey) override;
  void enter_error(uint32_t qp) override;
  void raise(uint32_t qp, ibv_event_type event) override { queues_[qp].events.push_back(event); }

 private:
  Send* find(uint32_t qp, uint32_t index);

  uint64_t base_;
  std::vector<uint8_t> memory_;
  std::map<uint32_t, Region> regions_;
  std::map<uint32_t, Queues> queues_;
};

// A device with its engine, on a link.
struct End {
  explicit End(size_t memory_bytes) : device(memory_bytes) {}
  // Without an own link: on its pipe.
  void attach(links::Link* own = nullptr) {
    link = own ? own : &pipe;
    engine = std::make_unique<transport::Engine>(device, *link);
  }
  // Takes in what has come, and sends. True if anything did.
  bool turn(uint64_t now_ns);

  ModelDevice device;
  Pipe pipe;
  links::Link* link = nullptr;
  std::unique_ptr<transport::Engine> engine;
};

constexpr uint32_t all_access =
    IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC;

struct Connection {
  uint32_t number = 0x11;  // of both
  ibv_qp_type type = IBV_QPT_RC;
  wire::Gid a = wire::ipv4_gid({10, 0, 0, 1}), b = wire::ipv4_gid({10, 0, 0, 2});
  uint16_t source_port = 0xc000;
  uint32_t send_depth = 64;
  transport::ReceiveAttributes receiving{};
  transport::SendAttributes sending{};

  Connection() {
    receiving.access = all_access;
    receiving.max_dest_rd_atomic = 4;
    receiving.min_rnr_timer = 2;  // 20 us
    sending.timeout = 8;          // 1 ms
    sending.max_rd_atomic = 4;
  }
};
void connect(End& a, End& b, const Connection& connection);

// Runs both, with time, until `done`, or until nothing happens any more. Returns the time.
template <typename Done>
uint64_t run(End& a, End& b, uint64_t now_ns, Done&& done) {
  while (!done()) {
    const bool a_moved = a.turn(now_ns), b_moved = b.turn(now_ns);
    if (a_moved || b_moved) {
      now_ns += 1000;
      continue;
    }
    const uint64_t next = std::min({a.engine->next_deadline_ns(), b.engine->next_deadline_ns(),
                                    a.link->next_deadline_ns(), b.link->next_deadline_ns()});
    if (next == transport::never) break;
    now_ns = std::max(next, now_ns + 1);
  }
  return now_ns;
}

}  // namespace softhca::test
