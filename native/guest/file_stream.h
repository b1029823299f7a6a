// Files and folders as one stream of bytes: how they are copied between host and guest.
//
// The stream is a list of entries, a folder before what is in it, and ends with an entry of kind
// `e`. An entry is its kind u8; mode u32; path, relative to what is copied and empty for that
// itself; for a file `f` chunks of bytes, the last one empty; for a symbolic link `l` its target;
// for a folder `d` nothing. Paths, targets and chunks are their length u32 and their bytes. An
// entry of kind `x` in place of any of them, or a chunk's length of 2^32 - 1, says that the sender
// failed.
#pragma once

namespace viaduct::guest {

// Both run in the directory tree `root`, and return an exit status; what went wrong is on standard
// error.

// Writes what is at `path` to standard output.
int pack(const char* root, const char* path);

// Makes at `path` what comes by standard input. A folder that is there already is added to.
int unpack(const char* root, const char* path);

}  // namespace viaduct::guest
