#include "softhca/links/ports.h"

#include "softhca/wire/packet.h"

namespace softhca::links {

bool Ports::add(const UdpOptions& options, std::string* problem) {
  if (has(options.address)) return true;
  if (2 * ports_.size() + 3 > most_descriptors) {
    *problem = "more addresses than this process can have ports of";
    return false;
  }
  if (!relay_) relay_ = Relay::open(owner_.slot, problem);
  if (!relay_) return false;
  auto udp = Udp::open(options, problem);
  if (!udp) return false;
  ports_.push_back({options.address, std::move(udp)});
  return true;
}

Link* Ports::find(const wire::Gid& address) const {
  if (rings_ && rings_->address() == address) return rings_.get();
  for (const Port& port : ports_)
    if (port.address == address) return port.udp.get();
  return nullptr;
}

bool Ports::join(const wire::Gid& address, const wire::Gid& group, std::string* problem) {
  for (const Port& port : ports_)
    if (port.address == address) return port.udp->join(group, problem);
  return false;
}

void Ports::leave(const wire::Gid& group) {
  for (const Port& port : ports_) port.udp->leave(group);
}

uint8_t* Ports::reserve(const Route& route, size_t bytes) {
  reserved_ = find(route.source);
  reserved_bytes_ = bytes;
  if (reserved_) return reserved_->reserve(route, bytes);
  nowhere_.resize(bytes);
  return nowhere_.data();
}

void Ports::send() {
  if (!reserved_) {
    ++counts_.refused;
    return;
  }
  counts_.bytes_sent += reserved_bytes_;
  reserved_->send();
}

void Ports::flush(uint64_t now_ns) {
  for (const Port& port : ports_) port.udp->flush(now_ns);
  if (rings_) rings_->flush(now_ns);
}

bool Ports::is_mine(const Datagram& packet) {
  // What is too short to tell is dropped, and counted, here.
  if (!wire::Bth::check_length(packet.bytes)) return true;
  const uint32_t number = wire::Bth::parse(packet.bytes.data()).dest_qp;
  // Each process that joined a group gets its own copy.
  if (number == wire::multicast_qp) return true;
  const uint32_t slot = owner_.slot_of(number);
  if (slot == owner_.slot) return true;
  if (relay_->pass_on(slot, packet)) {
    ++counts_.handed_on;
    return false;
  }
  // Nobody's, or not deliverable: the engine counts it among those to no queue pair.
  ++counts_.for_nobody;
  return true;
}

// The sources: the ports, then the relay, then the aperture's rings.
size_t Ports::receive_from(size_t source, std::span<Datagram> into, uint64_t now_ns) {
  if (source < ports_.size()) return ports_[source].udp->receive(into, now_ns);
  if (source > ports_.size()) return rings_->receive(into, now_ns);
  return relay_ ? relay_->receive(into) : 0;
}

size_t Ports::receive(std::span<Datagram> into, uint64_t now_ns) {
  // What is handed on is rare; to ask costs as much as for packets.
  const bool asks_relay = relay_turn_++ % relay_turns == 0;
  const size_t relay = ports_.size();
  const size_t sources = relay + 1 + (rings_ ? 1 : 0);
  // One source at a time, as what each gave is valid until it is asked again.
  for (size_t tried = 0; tried < sources; ++tried) {
    const size_t turn = (next_ + tried) % sources;
    if (turn == relay && !asks_relay) continue;
    const size_t got = receive_from(turn, into, now_ns);
    if (got == 0) continue;
    next_ = turn + (got < into.size());
    if (turn == relay) relay_turn_ = 0;
    size_t mine = 0;
    // Programs count on it that a request is complete before the peer's program answers it. An
    // acknowledgement that was kept for the answer comes behind it: so responses go first.
    came_.assign(into.begin(), into.begin() + ptrdiff_t(got));
    for (const bool responses : {true, false}) {
      for (const Datagram& packet : came_) {
        if (wire::is_response(packet.bytes) != responses) continue;
        if (turn < relay && !is_mine(packet)) continue;
        counts_.bytes_received += packet.bytes.size();
        into[mine++] = packet;
      }
    }
    if (mine > 0) return mine;
  }
  return 0;
}

std::vector<int> Ports::descriptors() const {
  std::vector<int> all;
  if (relay_) all.push_back(relay_->descriptor());
  for (const Port& port : ports_) {
    all.push_back(port.udp->descriptor());
    if (port.udp->has_groups()) all.push_back(port.udp->group_descriptor());
  }
  return all;
}

std::vector<int> Ports::all_descriptors() const {
  std::vector<int> all;
  if (relay_) all.push_back(relay_->descriptor());
  for (const Port& port : ports_) {
    const auto more = port.udp->all_descriptors();
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

PortCounts Ports::counts() const {
  PortCounts counts = counts_;
  for (const Port& port : ports_) counts.refused += port.udp->counts().refused;
  if (rings_) {
    counts.refused += rings_->counts().unknown + rings_->counts().stalled;
    counts.malformed = rings_->counts().malformed;
  }
  return counts;
}

}  // namespace softhca::links
