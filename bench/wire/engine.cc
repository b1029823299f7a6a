// What the transport engine costs: two of them back to back in one thread, over rings of packets in
// memory instead of a socket, so that what is left is headers, state, one copy at each end and the
// ICRC twice. Beside it in the same run: as many bytes copied twice by memcpy.
//
//   engine_bench [--seconds S] [--json FILE]
#include "softhca/transport/engine.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using namespace softhca;
using Clock = std::chrono::steady_clock;

constexpr uint32_t number = 0x11, key = 0x100;
constexpr size_t memory_bytes = 1 << 20;

// Packets on their way to the other end.
class Ring : public transport::Outbox {
 public:
  Ring() : slots_(count), bytes_(count * slot_bytes) {}
  uint8_t* reserve(const wire::Route& route, size_t bytes) override {
    if (head_ - tail_ == count) return nullptr;
    Slot& slot = slots_[head_ % count];
    slot = {route, bytes};
    return at(head_);
  }
  void send() override { ++head_; }
  void deliver(transport::Engine& to, uint64_t now) {
    for (; tail_ != head_; ++tail_) {
      const Slot& slot = slots_[tail_ % count];
      to.receive({slot.route, {at(tail_), slot.bytes}, 0}, now);
    }
  }
  bool empty() const { return tail_ == head_; }

 private:
  static constexpr size_t count = 64, slot_bytes = 4352;
  struct Slot {
    wire::Route route;
    size_t bytes;
  };
  uint8_t* at(size_t index) { return &bytes_[index % count * slot_bytes]; }

  std::vector<Slot> slots_;
  std::vector<uint8_t> bytes_;
  size_t head_ = 0, tail_ = 0;
};

// Posts the same request again and again.
class Endless : public transport::Device {
 public:
  Endless() : memory_(memory_bytes, 0x5a) {}
  transport::SendWqe request;
  uint64_t left = 0, completed = 0, received = 0;

  const transport::SendWqe* send_wqe(uint32_t, uint32_t index) override {
    return uint64_t(index) < left ? &request : nullptr;
  }
  bool gather(uint32_t, uint32_t, uint64_t offset, std::span<uint8_t> to) override {
    memcpy(to.data(), &memory_[offset], to.size());
    return true;
  }
  bool scatter(uint32_t, uint32_t, uint64_t offset, std::span<const uint8_t> from) override {
    memcpy(&memory_[offset], from.data(), from.size());
    return true;
  }
  ibv_wc_status run_local(uint32_t, uint32_t) override { return IBV_WC_SUCCESS; }
  void complete_send(uint32_t, uint32_t, ibv_wc_status status, uint64_t) override {
    if (status != IBV_WC_SUCCESS) {
      fprintf(stderr, "a request failed: status %d\n", status);
      exit(1);
    }
    ++completed;
  }
  transport::TakenReceive take_receive(uint32_t, uint32_t) override {
    return {transport::TakenReceive::taken, memory_bytes};
  }
  bool place(uint32_t, uint64_t offset, std::span<const uint8_t> from) override {
    return scatter(0, 0, offset, from);
  }
  void complete_receive(uint32_t, const transport::ReceiveCompletion&) override { ++received; }
  bool permits(uint32_t, uint32_t rkey, uint64_t address, uint64_t bytes, uint32_t) override {
    return rkey == key && address <= memory_bytes && bytes <= memory_bytes - address;
  }
  bool read(uint32_t, uint32_t, uint64_t address, std::span<uint8_t> to) override {
    memcpy(to.data(), &memory_[address], to.size());
    return true;
  }
  bool write(uint32_t, uint32_t, uint64_t address, std::span<const uint8_t> from) override {
    memcpy(&memory_[address], from.data(), from.size());
    return true;
  }
  std::optional<uint64_t> atomic(uint32_t, ibv_wr_opcode, uint32_t, uint64_t, uint64_t,
                                 uint64_t) override {
    return 0;
  }
  bool invalidate(uint32_t, uint32_t) override { return true; }
  void enter_error(uint32_t) override {}
  void raise(uint32_t, ibv_event_type) override {}

 private:
  std::vector<uint8_t> memory_;
};

struct End {
  Endless device;
  Ring ring;
  transport::Engine engine{device, ring};

  void connect(const wire::Gid& own, const wire::Gid& peer, uint32_t mtu) {
    transport::ReceiveAttributes receiving;
    receiving.access = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
    receiving.mtu_bytes = mtu;
    receiving.dest_qp = number;
    receiving.route.source = own;
    receiving.route.destination = peer;
    receiving.max_dest_rd_atomic = 16;
    transport::SendAttributes sending;
    sending.max_rd_atomic = 16;
    transport::QueuePairOptions options;
    options.send_depth = 64;
    if (!engine.create(number, options) || !engine.to_rtr(number, receiving) ||
        !engine.to_rts(number, sending))
      exit(1);
  }
};

struct Subject {
  const char* name;
  uint64_t bytes;
  ibv_wr_opcode opcode;
  uint32_t mtu;
};
constexpr Subject subjects[] = {
    {"RDMA write", 1 << 20, IBV_WR_RDMA_WRITE, 4096},
    {"RDMA write", 1 << 20, IBV_WR_RDMA_WRITE, 1024},
    {"RDMA read", 1 << 20, IBV_WR_RDMA_READ, 4096},
    {"RDMA read", 1 << 20, IBV_WR_RDMA_READ, 1024},
    {"send", 1 << 20, IBV_WR_SEND, 1024},
    {"send", 8, IBV_WR_SEND, 1024},
    {"RDMA write", 8, IBV_WR_RDMA_WRITE, 1024},
    {"RDMA read", 8, IBV_WR_RDMA_READ, 1024},
};

struct Sample {
  double seconds;
  uint64_t requests, packets;
};

Sample run(const Subject& subject, uint64_t requests) {
  End a, b;
  const auto address = [](uint8_t host) { return wire::ipv4_gid({10, 0, 0, host}); };
  a.connect(address(1), address(2), subject.mtu);
  b.connect(address(2), address(1), subject.mtu);
  a.device.request.opcode = subject.opcode;
  a.device.request.bytes = subject.bytes;
  a.device.request.rkey = key;
  a.device.left = requests;
  a.engine.wake(number);
  const auto begin = Clock::now();
  while (a.device.completed < requests) {
    a.engine.transmit(0, 64);
    a.ring.deliver(b.engine, 0);
    b.engine.transmit(0, 64);
    b.ring.deliver(a.engine, 0);
  }
  const std::chrono::duration<double> taken = Clock::now() - begin;
  const auto packets = [](End& end) {
    return end.engine.counters()[transport::Counter::packets_sent];
  };
  return {taken.count(), requests, packets(a) + packets(b)};
}

double memcpy_twice(uint64_t bytes, double seconds) {
  std::vector<uint8_t> from(memory_bytes, 1), between(1 << 18), to(memory_bytes);
  uint64_t done = 0;
  const auto begin = Clock::now();
  std::chrono::duration<double> taken{};
  const size_t piece = std::min<uint64_t>(bytes, 4096);
  do {
    for (size_t at = 0; at + piece <= memory_bytes; at += piece) {
      uint8_t* middle = &between[at % between.size()];
      memcpy(middle, &from[at], piece);
      asm volatile("" : : "r"(middle) : "memory");
      memcpy(&to[at], middle, piece);
      asm volatile("" : : "r"(&to[at]) : "memory");
      done += piece;
    }
    taken = Clock::now() - begin;
  } while (taken.count() < seconds);
  return double(done) / taken.count() / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 0.3;
  const char* json = nullptr;
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0) {
      seconds = atof(argv[i + 1]);
    } else if (i + 1 < argc && strcmp(argv[i], "--json") == 0) {
      json = argv[i + 1];
    } else {
      fprintf(stderr, "usage: %s [--seconds S] [--json FILE]\n", argv[0]);
      return 2;
    }
  }
  constexpr int turns = 5;
  std::string text = "[";
  printf("%-12s %8s %6s %10s %12s %8s %14s\n", "", "bytes", "MTU", "GB/s", "Mpackets/s", "ns each",
         "of two memcpy");
  for (const Subject& subject : subjects) {
    uint64_t requests = subject.bytes >= 4096 ? 64 : 20'000;
    const Sample trial = run(subject, requests);
    requests = std::max<uint64_t>(uint64_t(double(requests) * seconds / trial.seconds), 1);
    std::vector<double> gigabytes, packets, ratios;
    for (int turn = 0; turn < turns; ++turn) {
      const Sample sample = run(subject, requests);
      gigabytes.push_back(double(sample.requests * subject.bytes) / sample.seconds / 1e9);
      packets.push_back(double(sample.packets) / sample.seconds / 1e6);
      ratios.push_back(gigabytes.back() / memcpy_twice(subject.bytes, seconds / 4));
    }
    const auto median = [](std::vector<double> values) {
      std::sort(values.begin(), values.end());
      return values[values.size() / 2];
    };
    printf("%-12s %8zu %6u %10.3f %12.3f %8.0f %14.2f\n", subject.name, size_t(subject.bytes),
           subject.mtu, median(gigabytes), median(packets), 1e3 / median(packets), median(ratios));
    const auto list = [](const std::vector<double>& values) {
      std::string all;
      for (const double value : values) all += (all.empty() ? "" : ", ") + std::to_string(value);
      return "[" + all + "]";
    };
    text += std::string(text.size() > 1 ? "," : "") + "\n  {\"name\": \"" + subject.name +
            "\", \"bytes\": " + std::to_string(subject.bytes) +
            ", \"mtuBytes\": " + std::to_string(subject.mtu) +
            ", \"gigabytesPerSecond\": " + list(gigabytes) +
            ", \"millionPacketsPerSecond\": " + list(packets) +
            ", \"ofTwoMemcpy\": " + list(ratios) + "}";
  }
  if (!json) return 0;
  FILE* file = fopen(json, "w");
  if (!file) {
    perror(json);
    return 1;
  }
  fprintf(file, "%s\n]\n", text.c_str());
  return fclose(file) == 0 ? 0 : 1;
}
