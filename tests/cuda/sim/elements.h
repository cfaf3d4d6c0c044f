// Elements of matrices and tensors: single precision, or bfloat16, whose products are summed in single precision.
#pragma once
#include <stdint.h>
#include <string.h>

#include <vector>

namespace sim {

inline float from_bf16(uint16_t bits) {
  const uint32_t word = (uint32_t)bits << 16;
  float x;
  memcpy(&x, &word, 4);
  return x;
}

// Rounds to nearest, ties to even.
inline uint16_t to_bf16(float x) {
  uint32_t word;
  memcpy(&word, &x, 4);
  return x != x ? 0x7fff : (word + 0x7fff + ((word >> 16) & 1)) >> 16;
}

// An array as floats: in place, or for bfloat16 a copy that `write_back` rounds.
class Floats {
 public:
  // `size` is the size of an element in bytes: 4, or 2 for bfloat16.
  Floats(uint64_t address, uint64_t count, int64_t size) : address(address), size(size), at((float*)address) {
    if (size == 4) return;
    copy.resize(count);
    for (uint64_t i = 0; i < count; ++i) copy[i] = from_bf16(((const uint16_t*)address)[i]);
    at = copy.data();
  }
  void write_back() const {
    for (uint64_t i = 0; i < copy.size(); ++i) ((uint16_t*)address)[i] = to_bf16(copy[i]);
  }

 private:
  uint64_t address;
  int64_t size;
  std::vector<float> copy;

 public:
  float* at;
};

}  // namespace sim
