// The dialect of all kernels. Kernels use one-dimensional blocks and grids, and reach the machine only through the
// names below, so that the simulated device can run the same sources on the host: tests/cuda/sim/host.h defines
// LOCALGRAD_HOST and its own version of the first part. Every thread of a block must reach every barrier().

#ifndef LOCALGRAD_HOST
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define DEVICE __device__ __forceinline__
#define SHARED __shared__
#define GLOBAL __device__
#define UNROLL _Pragma("unroll")
#define UNROLL_BY(count) PRAGMA(unroll count)
#define PRAGMA(text) _Pragma(#text)
DEVICE u32 thread() { return threadIdx.x; }
DEVICE u32 block() { return blockIdx.x; }
DEVICE void barrier() { __syncthreads(); }
// Makes what a thread wrote visible to the whole card before what it does next.
DEVICE void publish() { __threadfence(); }
// Adds 1 to a counter, which is 0 again after `last`, and returns what it was.
DEVICE u32 count_up(u32* counter, u32 last) { return atomicInc(counter, last); }
// Reads past the multiprocessor's own cache, which may lack what other multiprocessors have written meanwhile.
DEVICE u32 read_fresh(const u32* p) { return __ldcg(p); }
typedef uint4 Words;
DEVICE Words read_fresh(const Words* p) { return __ldcg(p); }
DEVICE u32 bits(float x) { return __float_as_uint(x); }
DEVICE float from_bits(u32 x) { return __uint_as_float(x); }
DEVICE float reciprocal_root(float x) { return rsqrtf(x); }
// Truncates; a value out of range becomes the nearest limit, and NaN becomes 0.
DEVICE int to_i32(float x) { return __float2int_rz(x); }
DEVICE u32 to_u32(float x) { return __float2uint_rz(x); }
// The bits of the nearest bfloat16, ties to even. Needs sm_80.
DEVICE u16 bf16_bits(float x) {
  u16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
DEVICE void check_aligned(const void*, u32) {}
#endif

#define THREADS 256

// V neighbouring elements, loaded and stored in one access, or in several of 16 bytes.
template <class T, int V> struct alignas(sizeof(T) * V) Vec { T at[V]; };

template <int V, class T> DEVICE Vec<T, V> load(const T* p) {
  check_aligned(p, sizeof(T) * V);
  return *reinterpret_cast<const Vec<T, V>*>(p);
}

template <class T, int V> DEVICE void store(T* p, const Vec<T, V>& v) {
  check_aligned(p, sizeof(T) * V);
  *reinterpret_cast<Vec<T, V>*>(p) = v;
}

template <int V, class T> DEVICE Vec<T, V> filled(T value) {
  Vec<T, V> v;
  UNROLL for (int e = 0; e < V; ++e) v.at[e] = value;
  return v;
}

// bfloat16 in memory; variables hold it as the float of the same value.
struct bf16 { u16 bits; };
DEVICE float widen(float x) { return x; }
DEVICE float widen(bf16 x) { return from_bits((u32)x.bits << 16); }
template <class T> DEVICE T narrow(float x) { return x; }
template <> DEVICE bf16 narrow<bf16>(float x) { return {bf16_bits(x)}; }
DEVICE float rounded(float x) { return widen(narrow<bf16>(x)); }

template <class T, int V> DEVICE Vec<T, V> narrowed(const Vec<float, V>& v) {
  Vec<T, V> result;
  UNROLL for (int e = 0; e < V; ++e) result.at[e] = narrow<T>(v.at[e]);
  return result;
}

DEVICE u32 is_finite(float x) { return (bits(x) & 0x7f800000u) != 0x7f800000u; }
DEVICE float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }
DEVICE int sign(int x) { return (x > 0) - (x < 0); }
// A NaN in either operand gives NaN; fmaxf and fminf would return the other operand. +0 is greater than -0.
DEVICE float greater(float a, float b) {
  return a == b ? from_bits(bits(a) & bits(b)) : a > b || a != a ? a : b;
}
DEVICE int greater(int a, int b) { return a > b ? a : b; }
DEVICE u32 greater(u32 a, u32 b) { return a > b ? a : b; }
DEVICE float lesser(float a, float b) {
  return a == b ? from_bits(bits(a) | bits(b)) : a < b || a != a ? a : b;
}
DEVICE int lesser(int a, int b) { return a < b ? a : b; }
DEVICE u32 lesser(u32 a, u32 b) { return a < b ? a : b; }

// Integer division by zero gives the dividend, with remainder 0; the minimum divided by -1 wraps.
DEVICE int divide(int a, int b) { return b == 0 ? a : b == -1 ? (int)(0u - (u32)a) : a / b; }
DEVICE u32 divide(u32 a, u32 b) { return b == 0 ? a : a / b; }
DEVICE float divide(float a, float b) { return a / b; }
DEVICE int remainder_of(int a, int b) { return b == 0 || b == -1 ? 0 : a % b; }
DEVICE u32 remainder_of(u32 a, u32 b) { return b == 0 ? 0 : a % b; }
DEVICE float remainder_of(float a, float b) { return fmodf(a, b); }

// Integers wrap on overflow; C++ guarantees that for unsigned ones only.
DEVICE float add(float a, float b) { return a + b; }
DEVICE int add(int a, int b) { return (int)((u32)a + (u32)b); }
DEVICE u32 add(u32 a, u32 b) { return a + b; }
DEVICE float subtract(float a, float b) { return a - b; }
DEVICE int subtract(int a, int b) { return (int)((u32)a - (u32)b); }
DEVICE u32 subtract(u32 a, u32 b) { return a - b; }
DEVICE float multiply(float a, float b) { return a * b; }
DEVICE int multiply(int a, int b) { return (int)((u32)a * (u32)b); }
DEVICE u32 multiply(u32 a, u32 b) { return a * b; }

// An index clamped into [0, rows).
DEVICE u32 clamped(u32 index, u32 rows) { return index < rows ? index : rows - 1; }
DEVICE u32 clamped(int index, u32 rows) { return index < 0 ? 0 : clamped((u32)index, rows); }

DEVICE void mix(u32& x0, u32& x1, u32 by) {
  x0 += x1;
  x1 = ((x1 << by) | (x1 >> (32u - by))) ^ x0;
}

// A word of Threefry-2x32 with 20 rounds (Salmon et al., SC11) of key (k0, k1) and counter (counter, 0).
DEVICE u32 random_bits(u32 k0, u32 k1, u32 counter, u32 word) {
  const u32 key[3] = {k0, k1, k0 ^ k1 ^ 0x1bd11bdau};
  u32 x0 = counter + k0, x1 = k1;
  UNROLL for (u32 group = 0; group < 5; ++group) {
    if (group % 2 == 0) {
      mix(x0, x1, 13u), mix(x0, x1, 15u), mix(x0, x1, 26u), mix(x0, x1, 6u);
    } else {
      mix(x0, x1, 17u), mix(x0, x1, 29u), mix(x0, x1, 16u), mix(x0, x1, 24u);
    }
    x0 += key[(group + 1u) % 3u];
    x1 += key[(group + 2u) % 3u] + group + 1u;
  }
  return word == 0 ? x0 : x1;
}

// Tests whether a search for the first maximum replaces `best` by the later `x`. NaN is greater than any number.
template <class T> DEVICE bool is_greater(T x, T best) { return x > best || (x != x && best == best); }

struct Sum { template <class T> static DEVICE T fold(T a, T b) { return add(a, b); } };
struct Max { template <class T> static DEVICE T fold(T a, T b) { return greater(a, b); } };
struct Min { template <class T> static DEVICE T fold(T a, T b) { return lesser(a, b); } };

// Folds `v` over COUNT threads of a block that are STEP apart, in a fixed order and without atomics. The thread whose
// `rank` among them is 0 gets the result.
template <class Fold, int COUNT, int STEP, class T, int V> DEVICE void fold_across(Vec<T, V>& v, u32 rank) {
  if (COUNT == 1) return;
  SHARED Vec<T, V> cells[THREADS];
  barrier(); // an earlier call may still read the cells
  cells[thread()] = v;
  for (u32 half = COUNT / 2; half > 0; half /= 2) {
    barrier();
    if (rank < half) {
      const Vec<T, V> other = cells[thread() + half * STEP];
      UNROLL for (int e = 0; e < V; ++e) v.at[e] = Fold::fold(v.at[e], other.at[e]);
      cells[thread()] = v;
    }
  }
}

// Tests whether this block is the last of `count` that come here. What all of them wrote before is then visible to it,
// through load_fresh(). The counter is left as it was: 0.
DEVICE bool is_last(u32* counter, u32 count) {
  SHARED u32 ticket;
  publish();
  barrier();
  if (thread() == 0) ticket = count_up(counter, count - 1);
  barrier();
  publish();
  return ticket == count - 1;
}

// Loads V words that other blocks of this launch have written.
template <int V, class T> DEVICE Vec<T, V> load_fresh(const T* p) {
  check_aligned(p, sizeof(T) * V);
  Vec<T, V> v;
  if (V % 4 == 0) {
    UNROLL for (int e = 0; e + 3 < V; e += 4) {
      *reinterpret_cast<Words*>(v.at + e) = read_fresh(reinterpret_cast<const Words*>(p + e));
    }
  } else {
    UNROLL for (int e = 0; e < V; ++e) *reinterpret_cast<u32*>(v.at + e) = read_fresh(reinterpret_cast<const u32*>(p + e));
  }
  return v;
}

// V sums of at most MOST terms each. It adds 64 terms at a time, then 64 of their sums, and so on, so that errors do
// not grow with the number of terms.
template <int V, u32 MOST> struct LongSum {
  static constexpr u32 FAN = 64;
  static constexpr int LEVELS = MOST <= FAN ? 1 : MOST <= FAN * FAN ? 2 : MOST <= FAN * FAN * FAN ? 3 : 4;
  Vec<float, V> levels[LEVELS];
  u32 terms = 0;

  DEVICE LongSum() { UNROLL for (int l = 0; l < LEVELS; ++l) levels[l] = filled<V>(0.0f); }

  DEVICE void add(const Vec<float, V>& term) {
    UNROLL for (int e = 0; e < V; ++e) levels[0].at[e] += term.at[e];
    if (LEVELS == 1) return;
    ++terms;
    u32 full = FAN;
    UNROLL for (int l = 1; l < LEVELS; ++l, full *= FAN) {
      if (terms % full != 0) return;
      UNROLL for (int e = 0; e < V; ++e) levels[l].at[e] += levels[l - 1].at[e], levels[l - 1].at[e] = 0.0f;
    }
  }

  DEVICE Vec<float, V> total() const {
    Vec<float, V> sum = levels[0];
    UNROLL for (int l = 1; l < LEVELS; ++l) UNROLL for (int e = 0; e < V; ++e) sum.at[e] += levels[l].at[e];
    return sum;
  }
};

template <int V, class T> DEVICE Vec<float, V> widened(const Vec<T, V>& v) {
  Vec<float, V> result;
  UNROLL for (int e = 0; e < V; ++e) result.at[e] = widen(v.at[e]);
  return result;
}
