// Which way a queue pair's messages go, chosen when it becomes ready to receive, and its states in
// the transport engine if they are packets.
//
// A GID that is an address of this host, with the queue pair in a process of this user: the ways
// within the host. Any other address: packets.
#pragma once

#include "softhca/network.h"
#include "softhca/packet_queue.h"

namespace softhca {

struct PathChoice {
  Network* network = nullptr;  // nullptr: within this host
  uint32_t reason = 0;         // a viaduct_path_reason
  Address address{};           // connected
};

// 0, or an errno value, and last_problem() says why. Opens what it needs; so the caller holds no
// lock.
int choose_path(QueuePair& qp, const ibv_qp_attr& attr, PathChoice* choice);
// For a datagram to another host.
int open_way(Host& host, const Address& address);

// The changes of state; the caller holds a Network::Guard.
void begin_packets(QueuePair& qp, const PathChoice& choice);
void pause_packets(QueuePair& qp, bool paused);
// In the state RTS, from where it was before.
void continue_packets(QueuePair& qp, ibv_qp_state from);
bool packets_are_sending(const QueuePair& qp);
// The engine has forgotten the queue pair.
void forget_packets(QueuePair& qp);

}  // namespace softhca
