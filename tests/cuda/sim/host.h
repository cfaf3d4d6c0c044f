// The first part of kernels/cuda/dialect.cuh for the host: the machine as a kernel sees it on the simulated device. The
// simulated NVRTC puts this before every source. It tests the results of kernels and says nothing about their speed.
#define LOCALGRAD_HOST

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef decltype(sizeof(0)) size_t;
typedef unsigned long long u64;

// Set by the simulated driver before each thread runs.
struct SimMachine {
  u32 thread, block;
  void (*barrier)();
  void (*misaligned)();
};
extern "C" __attribute__((visibility("default"))) SimMachine sim_machine;
SimMachine sim_machine;

#define KERNEL(threads) extern "C" __attribute__((visibility("default"))) void
#define DEVICE inline
#define SHARED static
#define GLOBAL static
#define UNROLL
#define UNROLL_BY(count)

inline u32 thread() { return sim_machine.thread; }
inline u32 block() { return sim_machine.block; }
inline void barrier() { sim_machine.barrier(); }
inline void publish() {}
inline u32 count_up(u32* counter, u32 last) {
  const u32 before = *counter;
  *counter = before >= last ? 0 : before + 1;
  return before;
}
struct Words { u32 at[4]; };
inline u32 read_fresh(const u32* p) { return *p; }
inline Words read_fresh(const Words* p) { return *p; }

extern "C" {
float expf(float);
float logf(float);
float sinf(float);
float cosf(float);
float tanhf(float);
float erff(float);
float powf(float, float);
float fmodf(float, float);
}
inline float sqrtf(float x) { return __builtin_sqrtf(x); }
inline float floorf(float x) { return __builtin_floorf(x); }
inline float fabsf(float x) { return __builtin_fabsf(x); }
inline float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }
inline float fminf(float a, float b) { return __builtin_fminf(a, b); }
inline float reciprocal_root(float x) { return 1.0f / __builtin_sqrtf(x); }
inline u32 bits(float x) { return __builtin_bit_cast(u32, x); }
inline float from_bits(u32 x) { return __builtin_bit_cast(float, x); }
inline int to_i32(float x) {
  return x != x ? 0 : x >= 2147483648.0f ? 2147483647 : x < -2147483648.0f ? -2147483647 - 1 : (int)x;
}
inline u32 to_u32(float x) { return !(x > 0) ? 0 : x >= 4294967296.0f ? 4294967295u : (u32)x; }
inline u16 bf16_bits(float x) {
  return x != x ? 0x7fff : (bits(x) + 0x7fffu + ((bits(x) >> 16) & 1u)) >> 16;
}
inline void check_aligned(const void* p, u32 bytes) {
  if ((u64)p % bytes != 0) sim_machine.misaligned();
}
