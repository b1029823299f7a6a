#include "softhca/network.h"

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <thread>

#include "softhca/network_options.h"
#include "softhca/packet_counters.h"
#include "softhca/packet_rings.h"
#include "softhca/spin.h"

namespace softhca {
namespace {

// Packets sent before arrivals are looked at again.
constexpr uint32_t packets_at_once = 256;
// Turns before others get the lock.
constexpr int turns = 8;
constexpr uint64_t never = UINT64_MAX;
// How long the thread waits before it looks whether the program still polls.
constexpr uint64_t leave_ns = 1000000;
// A program polls if its last poll is no longer ago.
constexpr uint64_t recent_ns = 50000;
// Polls in vain before the program gives the processor to others: few if others want it.
constexpr uint32_t few_polls = 4, many_polls = 64;
// Longer than a processor takes to find that nobody wants it.
constexpr uint64_t wanted_ns = 3000;
// A program that asks for an event looks for completions before it sleeps.
constexpr uint32_t last_polls = 8;
// A program polls this very moment, and was only interrupted by the thread, whose waking takes a
// while in a virtual machine.
constexpr uint64_t at_once_ns = 20000;
// How long the thread waits for a thread of the program to be done.
constexpr uint64_t busy_ns = 50000;
// The higher, the longer the thread watches although the program polls.
constexpr uint32_t most_need = 15;
// Rings wake nobody. When packets came, the thread looks again at once that often, and then leaves
// them alone, longer and longer.
constexpr uint32_t patient_looks = 32;
constexpr uint64_t least_pause_ns = 20000, most_pause_ns = 2000000;
// While the kernel has no room for what is to be sent.
constexpr uint64_t full_ns = 50000;

}  // namespace

std::unique_ptr<Network> Network::open(Host& host, std::string* problem) {
  std::unique_ptr<Network> network(new Network(host));
  if (!network->start(problem)) return nullptr;
  return network;
}

Network::Network(Host& host)
    : host_(host),
      device_(host),
      ports_({host.slot(), slot_of}),
      link_(&ports_),
      engine_(device_,
              [&]() -> transport::Outbox& {
                const NetworkOptions& options = network_options();
                if (!options.capture.empty()) {
                  capture_ = links::Pcap::open(ports_, options.capture);
                  if (capture_) link_ = capture_.get();
                }
                if (options.has_faults) {
                  faults_ = std::make_unique<links::Faults>(*link_, options.faults, options.seed);
                  link_ = faults_.get();
                }
                return *link_;
              }()),
      sleeping_until_(0) {}

bool Network::start(std::string* problem) {
  polls_to_yield_ = few_polls;
  // No longer than the thread leaves packets to the program, so that keeping needs no call.
  engine_.keep_acknowledgements(leave_ns);
  const NetworkOptions& options = network_options();
  if (!options.capture.empty() && !capture_) {
    *problem =
        "packets can't be written to " + options.capture + " (VIADUCT_PCAP): " + strerror(errno);
    return false;
  }
  doorbell_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (doorbell_ < 0) {
    *problem = std::string("no descriptor for the network's thread: ") + strerror(errno);
    return false;
  }
  if (!options.rings.file.empty() && !join_rings(problem)) return false;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([this] { run(); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return true;
}

bool Network::join_rings(std::string* problem) {
  const auto memory = map_rings(network_options().rings, problem);
  if (memory.empty()) return false;
  auto rings = links::Aperture::join(memory, problem);
  if (!rings) {
    *problem = network_options().rings.file + " (VIADUCT_PACKET_RINGS): " + *problem;
    return false;
  }
  ibv_gid gid;
  std::copy_n(rings->address().begin(), sizeof gid.raw, gid.raw);
  set_rings_gid(gid);
  leave_rings_at_exit(rings.get());
  ports_.take(std::move(rings));
  return true;
}

Network::~Network() {
  if (doorbell_ >= 0) close(doorbell_);
}

bool Network::add_port(const GidEntry& address, std::string* problem) {
  links::UdpOptions options;
  options.address = to_wire(address.gid);
  options.interface = address.interface;
  options.shared = true;
  if (ports_.has(options.address)) return true;
  if (!ports_.add(options, problem)) return false;
  ring();  // the thread is to watch it
  return true;
}

bool Network::join(const GidEntry& address, const wire::Gid& group, std::string* problem) {
  if (!add_port(address, problem) || !ports_.join(to_wire(address.gid), group, problem))
    return false;
  ring();  // as for a port
  return true;
}

void Network::close_descriptors() {
  for (const int descriptor : ports_.all_descriptors()) close(descriptor);
  close(doorbell_);
  leave_rings_at_exit(nullptr);
  ports_.forget_rings();
}

void Network::take_woken() {
  if (woken_count_.load(std::memory_order_seq_cst) == 0) return;
  {
    const std::lock_guard guard(woken_mutex_);
    taking_.swap(woken_);
    woken_count_.store(0, std::memory_order_seq_cst);
  }
  for (const uint32_t queue_pair : taking_) engine_.wake(queue_pair);
  taking_.clear();
}

void Network::put_broken_into_error() {
  auto& broken = device_.broken();
  while (!broken.empty()) {
    const uint32_t queue_pair = broken.back();
    broken.pop_back();
    engine_.to_error(queue_pair);
  }
}

bool Network::drive(bool receives) {
  bool came = false;
  for (int turn = 0; turn < turns; ++turn) {
    take_woken();
    const uint64_t now = now_ns();
    const size_t count = receives ? link_->receive(datagrams_, now) : 0;
    for (size_t i = 0; i < count; ++i) engine_.receive(datagrams_[i], now);
    more_ = engine_.transmit(now, packets_at_once);
    link_->flush(now);
    put_broken_into_error();
    came = came || count > 0;
    if (count < std::size(datagrams_) && !more_) break;
  }
  return came;
}

void Network::enter() {
  mutex_.lock();
  // What comes may forget the queue pair, whose peer is to know what has arrived.
  if (engine_.keeps_acknowledgements()) drive(false);
}

void Network::finish() {
  // Not lock(): a signal's handler may end the process, in the midst of anything.
  if (!mutex_.try_lock()) return;
  // What came here for processes that share the port would be gone with it.
  drive(true);
  if (engine_.keeps_acknowledgements()) drive(false);
  mutex_.unlock();
}

void Network::leave() {
  for (;;) {
    const uint64_t deadline = next_deadline_ns();
    const bool rings = deadline < sleeping_until_.load(std::memory_order_seq_cst) &&
                       !leaves_packets_.load(std::memory_order_seq_cst);
    mutex_.unlock();
    if (rings) ring();
    // Who found the lock taken has left it to us.
    if (woken_count_.fetch_add(0, std::memory_order_seq_cst) == 0 || !mutex_.try_lock()) return;
    drive(false);
  }
}

void Network::wake(uint32_t queue_pair) {
  {
    const std::lock_guard guard(woken_mutex_);
    woken_.push_back(queue_pair);
    woken_count_.fetch_add(1, std::memory_order_seq_cst);
  }
  if (!mutex_.try_lock()) return;
  drive(false);
  publish_counters();
  leave();
}

void Network::progress() {
  if (!mutex_.try_lock()) return;
  const uint32_t polls_to_sleep = polls_to_sleep_.load(std::memory_order_relaxed);
  if (polls_to_sleep > 0) {
    polls_to_sleep_.store(polls_to_sleep - 1, std::memory_order_relaxed);
  } else {
    polled_at_ns_.store(now_ns(), std::memory_order_relaxed);
  }
  const bool came = drive(true);
  // That may have taken long.
  if (came && polls_to_sleep == 0) polled_at_ns_.store(now_ns(), std::memory_order_relaxed);
  empty_polls_ = came ? 0 : empty_polls_ + 1;
  if (empty_polls_ == 1) publish_counters();
  const bool yields = empty_polls_ >= polls_to_yield_;
  if (yields) empty_polls_ = 0;
  leave();
  if (yields) yield();
}

// What the program waits for may want this very processor.
void Network::yield() {
  const uint64_t began = now_ns();
  sched_yield();
  const bool wanted = now_ns() - began > wanted_ns;
  polls_to_yield_.store(wanted ? few_polls : many_polls, std::memory_order_relaxed);
}

void Network::stop_polling() {
  polls_to_sleep_.store(last_polls, std::memory_order_relaxed);
  polled_at_ns_.store(0, std::memory_order_seq_cst);
  if (leaves_packets_.load(std::memory_order_seq_cst)) ring();
}

uint64_t Network::next_deadline_ns() const {
  const uint64_t deadline = std::min(engine_.next_deadline_ns(), link_->next_deadline_ns());
  return more_ ? std::min(deadline, now_ns() + full_ns) : deadline;
}

void Network::ring() {
  const uint64_t one = 1;
  // Full is as good as rung.
  [[maybe_unused]] const ssize_t written = write(doorbell_, &one, sizeof one);
}

void Network::sleep_until(uint64_t deadline_ns, bool watches_packets) {
  watched_[0] = {doorbell_, POLLIN, 0};
  const uint64_t now = now_ns();
  timespec timeout{};
  if (deadline_ns > now) {
    timeout.tv_sec = time_t((deadline_ns - now) / 1000000000);
    timeout.tv_nsec = long((deadline_ns - now) % 1000000000);
  }
  ppoll(watched_, watches_packets ? watched_count_ : 1, deadline_ns == never ? nullptr : &timeout,
        nullptr);
  sleeping_until_.store(0, std::memory_order_seq_cst);
  if (watched_[0].revents & POLLIN) {
    uint64_t rung;
    [[maybe_unused]] const ssize_t got = read(doorbell_, &rung, sizeof rung);
  }
}

void Network::run() {
  prctl(PR_SET_NAME, "softhca-network");
  // How much the program needs the thread although it polls, as one does that looks into its memory
  // for what peers write: it polls for its own requests alone.
  uint32_t need = 0;
  bool left_packets = false;
  uint32_t empty_looks = 0;
  uint64_t pause = least_pause_ns;
  for (;;) {
    const uint64_t now = now_ns();
    const uint64_t since_poll = now - polled_at_ns_.load(std::memory_order_seq_cst);
    const bool polls = since_poll < recent_ns;
    if (since_poll < at_once_ns) need /= 2;
    uint64_t deadline = now + (polls ? leave_ns : busy_ns);
    // Not into the way of a thread that is inside: it would have to wake this one when it is done,
    // and may be about to poll.
    const bool leaves = (polls && need == 0) || !mutex_.try_lock();
    if (!leaves) {
      const bool came = drive(true);
      if (came && since_poll >= at_once_ns && (left_packets || need > 0))
        need = std::min(2 * need + 1, most_need);
      publish_counters();
      note_descriptors();
      deadline = polls ? std::min(deadline, next_deadline_ns()) : next_deadline_ns();
      if (ports_.rings()) {
        empty_looks = came ? 0 : empty_looks + 1;
        if (empty_looks < patient_looks) {
          mutex_.unlock();
          sched_yield();
          continue;
        }
        pause = empty_looks == patient_looks ? least_pause_ns : std::min(2 * pause, most_pause_ns);
        deadline = std::min(deadline, now + pause);
      }
    }
    left_packets = leaves;
    leaves_packets_.store(leaves, std::memory_order_seq_cst);
    sleeping_until_.store(deadline, std::memory_order_seq_cst);
    if (!leaves) mutex_.unlock();
    const bool again = leaves ? polls && polled_at_ns_.load(std::memory_order_seq_cst) == 0
                              : woken_count_.fetch_add(0, std::memory_order_seq_cst) != 0;
    if (!again) sleep_until(deadline, !leaves);
    sleeping_until_.store(0, std::memory_order_seq_cst);
  }
}

// The caller has the lock.
void Network::note_descriptors() {
  watched_count_ = 1;
  for (const int descriptor : ports_.descriptors())
    watched_[watched_count_++] = {descriptor, POLLIN, 0};
}

void Network::publish_counters() {
  publish_packet_counters(host_.segment().wire, engine_.counters(), ports_.counts());
}

}  // namespace softhca
