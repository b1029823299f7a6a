// The host's own end of a link: a bridge with a tap, in a network namespace of its own, where
// programs of the host join the machines. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN. Nothing has a name
// outside: the namespace and the interface go with the last descriptor.
#pragma once

#include <cstdint>

namespace viaduct::link {

struct HostInterface {
  // What the interface sends and receives, a frame each; closed on exec, as the other is.
  int tap = -1;
  // The namespace, for setns(2).
  int network_namespace = -1;
  // The errno of `call`, or 0; then nothing is open.
  int error = 0;
  const char* call = "";
};

// `address` is in host order. As a thread enters another namespace for good, this makes a thread
// for itself.
HostInterface make_host_interface(uint32_t address, uint32_t prefix_length);

}  // namespace viaduct::link
