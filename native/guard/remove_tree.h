// Removes a directory with all in it, without following symbolic links.
#pragma once

#include <string>

namespace viaduct::guard {

// Goes on past what it can't remove; false if something is left.
bool remove_tree(const std::string& path);

}  // namespace viaduct::guard
