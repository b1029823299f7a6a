// A link that writes what passes another to a capture file (pcapng), for Wireshark.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "softhca/links/link.h"

namespace softhca::links {

class Pcap : public Link {
 public:
  // nullptr: the file can't be written; errno says why.
  static std::unique_ptr<Pcap> open(Link& link, const std::string& path);

  uint8_t* reserve(const Route& route, size_t bytes) override;
  void send() override;
  void flush(uint64_t now_ns) override;
  size_t receive(std::span<Datagram> into, uint64_t now_ns) override;
  uint64_t next_deadline_ns() const override { return link_.next_deadline_ns(); }

  // False if something couldn't be written, for example because the disk is full.
  bool whole() const { return whole_; }

 private:
  struct Close {
    void operator()(FILE* file) const { fclose(file); }
  };
  using File = std::unique_ptr<FILE, Close>;
  enum class Way : uint32_t { in = 1, out = 2 };

  Pcap(Link& link, File file);
  void write(const void* data, size_t bytes);
  void write_word(uint32_t word) { write(&word, sizeof word); }
  void write_packet(const Datagram& packet, Way way);

  Link& link_;
  File file_;
  bool whole_ = true;
  uint64_t now_ns_ = 0;
  Route route_{};
  uint8_t* reserved_ = nullptr;
  size_t reserved_bytes_ = 0;
};

}  // namespace softhca::links
