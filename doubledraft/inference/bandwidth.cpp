// The sum of a large array, all cores together: the time that memory needs to deliver it.
//
// Each thread asks for memory ahead of its use, as the pass of the engine does: a plain sum waits for it on some processors.

#include <algorithm>
#include <cstdint>

constexpr int PREFETCH_BYTES = 8192;  // ahead of the read position
constexpr int64_t LINE = 8;  // numbers of a cache line

extern "C" int64_t sum_of(const int64_t* numbers, int64_t count, int64_t threads) {
    int64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum) num_threads(threads)
    for (int64_t at = 0; at < count; at += LINE) {
        __builtin_prefetch(reinterpret_cast<const char*>(numbers + at) + PREFETCH_BYTES);
        for (int64_t i = at; i < std::min(at + LINE, count); i++) sum += numbers[i];
    }
    return sum;
}
