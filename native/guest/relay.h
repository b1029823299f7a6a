// A port of the guest's loopback whose one connection goes through standard input and output.
#pragma once

namespace viaduct::guest {

// Prints the port's number on a line of its own, takes one connection and carries bytes both ways
// until either side ends. Returns the process's exit status.
int relay_port();

}  // namespace viaduct::guest
