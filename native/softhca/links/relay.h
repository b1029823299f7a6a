// Packets that came to another process. The processes of one user share an address's port, and the
// kernel doesn't know whose queue pair a packet is for; whoever gets it hands it on by a datagram
// socket that the owner's slot names.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "softhca/links/link.h"

namespace softhca::links {

class Relay {
 public:
  // nullptr: `problem` says what is wrong.
  static std::unique_ptr<Relay> open(uint32_t slot, std::string* problem);
  ~Relay();
  Relay(const Relay&) = delete;

  // False: nobody has the slot, or its process is slow to take what is there.
  bool pass_on(uint32_t slot, const Datagram& packet);
  // Valid until the next call.
  size_t receive(std::span<Datagram> into);
  // To sleep on.
  int descriptor() const { return descriptor_; }

 private:
  struct Arrivals;

  explicit Relay(int descriptor);

  const int descriptor_;
  std::unique_ptr<Arrivals> arrivals_;
};

}  // namespace softhca::links
