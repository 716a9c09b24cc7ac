// One forward pass of the models of backend.py on CPU, all layers in one parallel region: plain C++, no library.
//
// With one request at a time a decoding step should cost no more than reading the weights. So weights are read once, in
// the order and type in which they are stored, and each is used for all tokens of the pass while it is in a register:
// the sums of some rows and some tokens are registers too, and a verification costs little more than a plain step. Sums
// are float32; their inputs are rounded to the type of the weights, as in every engine.
//
// The order of every sum depends on neither the number of tokens nor the number of threads. A token's logits therefore
// have the same bits whether it is read alone or with a draft, and greedy speculation emits exactly the ids of plain
// decoding, in bfloat16 too. -ffast-math would break that.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <omp.h>
#include <type_traits>
#include <vector>
#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace {

constexpr int WIDTH = 16;  // numbers of a vector; heads are multiples of it, and rows of matrices of twice as many
constexpr int PREFETCH_BYTES = 8192;  // memory requested that early delivered weights at twice the speed
constexpr int QUERIES = 3;  // of a token and a key head that read keys and values together
constexpr int TILE = 24;  // rows of a matrix that are used for all tokens before the next ones are read

#ifdef __AVX512F__
constexpr int LANES = 16;  // numbers of a register
constexpr int TOGETHER = 8;  // tokens whose sums are in registers at a time
constexpr int ROWS[] = {0, 4, 4, 3, 3, 2, 2, 2, 2};  // rows at a time, by the number of tokens
#else
constexpr int LANES = 8;
constexpr int TOGETHER = 6;
constexpr int ROWS[] = {0, 4, 4, 2, 3, 2, 2};
#endif
constexpr int PARTS = WIDTH / LANES;  // registers of a vector

typedef float Vector __attribute__((vector_size(4 * WIDTH)));
typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef float LanesInMemory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t LaneBits __attribute__((vector_size(4 * LANES)));
typedef int32_t LaneBitsInMemory __attribute__((vector_size(4 * LANES), aligned(2), may_alias));
typedef uint16_t LaneShorts __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef int8_t LaneBytes __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef float Floats __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));  // as they lie in memory
typedef float Half __attribute__((vector_size(2 * WIDTH)));
typedef float Quarter __attribute__((vector_size(WIDTH)));
typedef int32_t Integers __attribute__((vector_size(4 * WIDTH)));
typedef uint16_t Shorts __attribute__((vector_size(2 * WIDTH), aligned(2), may_alias));
struct BFloat16 { uint16_t bits; };
struct Widened { float value; };  // a bfloat16 number as float32, so that it is widened once and not for each row

inline Vector load(const float* from) { return *reinterpret_cast<const Floats*>(from); }
inline Vector load(const BFloat16* from) {
    return (Vector)(__builtin_convertvector(*reinterpret_cast<const Shorts*>(from), Integers) << 16);
}
inline void store(float* to, Vector value) { *reinterpret_cast<Floats*>(to) = value; }
inline void store(float* to, float value) { *to = value; }
inline void store(BFloat16* to, float value) {  // to the nearest, ties to even, as torch rounds
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    to->bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline void store(BFloat16* to, Vector value) {
    const Integers bits = (Integers)value;
    *reinterpret_cast<Shorts*>(to) = __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, Shorts);
}

inline void store(Widened* to, Vector value) {
    BFloat16 rounded[WIDTH];
    store(rounded, value);
    value = load(rounded);
#ifndef __AVX512F__  // in the order of `fetch`
    value = __builtin_shufflevector(value, value, 0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
#endif
    *reinterpret_cast<Floats*>(to) = value;
}

inline Quarter folded(Half v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
}
inline Quarter folded(Vector v) {
    return folded(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                  __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
}
inline float sum(Vector v) {
    const Quarter quarter = folded(v);
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}
// The sums of four folded vectors, each added up in the order of `sum`.
inline Quarter four_sums(Quarter a, Quarter b, Quarter c, Quarter d) {
    const Quarter ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Quarter cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

// Numbers that begin at a cache line, as every row in them then does: others take twice as long to load.
template <typename Number>
class Buffer {
  public:
    explicit Buffer(int64_t numbers) : memory((numbers + WIDTH - 1) / WIDTH) {}
    operator Number*() { return reinterpret_cast<Number*>(memory.data()); }

  private:
    std::vector<Vector> memory;
};

struct Share { int64_t begin, end; };  // of some work, this thread's part

Share share(int64_t work, int64_t grain) {
    const int64_t grains = (work + grain - 1) / grain, threads = omp_get_num_threads(), thread = omp_get_thread_num();
    return {std::min(work, grains * thread / threads * grain), std::min(work, grains * (thread + 1) / threads * grain)};
}

}  // namespace

extern "C" {

struct Matrix {
    const void* weight;  // [rows, columns]
    const float* scale;  // [rows] that the products are multiplied with, or null
    const float* bias;   // [rows], or null
    int64_t rows, columns;
};

struct Layer {
    const float* attention_norm;
    Matrix query_key_value;
    const float* head_norm;  // [heads + key_heads, head_dim], or null
    Matrix attention_out;
    const float* mlp_norm;
    Matrix gate_up;
    Matrix down;
};

struct Model {
    const Layer* blocks;
    int64_t layers, vocabulary, size, heads, key_heads, head_dim;
    float epsilon, rotary_scale;
    const float* frequencies;  // [head_dim / 2]
    const void* embedding;     // [vocabulary, size]
    const float* norm;
};

struct Pass {
    const int64_t* ids;      // [rows, tokens]
    const int64_t* lengths;  // [rows], positions that the cache holds
    int64_t rows, tokens, capacity;
    void *keys, *values;  // [layer, row, capacity, key_heads, head_dim]
    void* out;            // [rows, tokens, size]: the last hidden states
};

}  // extern "C"

namespace {

// What weights of a type are multiplied with: for 8-bit ones, whose products need a scale anyway, exact float32.
#ifdef __AVX512BF16__
template <typename Weight>
using InputOf = std::conditional_t<std::is_same_v<Weight, int8_t>, float, Weight>;
#else
template <typename Weight>
using InputOf = std::conditional_t<std::is_same_v<Weight, BFloat16>, Widened, float>;
#endif
template <typename Weight>
using StateOf = std::conditional_t<std::is_same_v<Weight, BFloat16>, BFloat16, float>;  // of the last hidden states

// LANES numbers as float32; and a * b + c with one rounding. Written out for processors that have an instruction for it:
// compilers make several of a conversion, and choose between one and two roundings by the shape of a loop, so that the
// bits of a sum would depend on the number of tokens.
inline Lanes load_lanes(const float* from) { return *reinterpret_cast<const LanesInMemory*>(from); }
inline Lanes load_lanes(const Widened* from) { return *reinterpret_cast<const LanesInMemory*>(from); }
inline void store_lanes(float* to, Lanes value) { *reinterpret_cast<LanesInMemory*>(to) = value; }
#if defined(__AVX512F__)
inline Lanes load_lanes(const BFloat16* from) {
    const __m256i shorts = _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(from));
    return (Lanes)_mm512_slli_epi32(_mm512_cvtepu16_epi32(shorts), 16);
}
inline Lanes load_lanes(const int8_t* from) {
    return (Lanes)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from))));
}
inline Lanes fused(Lanes a, Lanes b, Lanes c) { return (Lanes)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
#elif defined(__AVX2__) && defined(__FMA__)
inline Lanes load_lanes(const BFloat16* from) {
    const __m128i shorts = _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from));
    return (Lanes)_mm256_slli_epi32(_mm256_cvtepu16_epi32(shorts), 16);
}
inline Lanes load_lanes(const int8_t* from) {
    return (Lanes)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(from))));
}
inline Lanes fused(Lanes a, Lanes b, Lanes c) { return (Lanes)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
#else
inline Lanes load_lanes(const BFloat16* from) {
    return (Lanes)(__builtin_convertvector(*reinterpret_cast<const LaneShorts*>(from), LaneBits) << 16);
}
inline Lanes load_lanes(const int8_t* from) {
    return __builtin_convertvector(*reinterpret_cast<const LaneBytes*>(from), Lanes);
}
inline Lanes fused(Lanes a, Lanes b, Lanes c) { return a * b + c; }
#endif

// e^x, to the last bit or two; Cephes' expf. Below -87 it is as good as 0, above 88 it would overflow.
inline Lanes exponential(Lanes x) {
    x = x < -87.0f ? Lanes{} - 87.0f : x;
    x = x > 88.0f ? Lanes{} + 88.0f : x;
    const Lanes power = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // to the nearest integer
    const Lanes r = (x - power * 0.693359375f) - power * -2.12194440e-4f;
    Lanes e = ((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r
               + 1.6666665459e-1f) * r + 5.0000001201e-1f;
    e = e * r * r + r + 1.0f;
    return e * (Lanes)((__builtin_convertvector(power, LaneBits) + 127) << 23);
}

// One of the PARTS of WIDTH weights as float32, in the order in which `store` leaves the inputs.
template <typename Weight>
inline Lanes fetch(const Weight* from, int part) { return load_lanes(from + part * LANES); }
inline Lanes fetch(const BFloat16* from, int part) {
#ifdef __AVX512F__
    return load_lanes(from);
#else  // numbers at even places are the lower halves of a register, those at odd places the upper ones
    const LaneBits pairs = *reinterpret_cast<const LaneBitsInMemory*>(from);
    return (Lanes)(part ? pairs & static_cast<int32_t>(0xffff0000) : pairs << 16);
#endif
}

// Add to `sums` the products of 2 * WIDTH numbers of some rows, `columns` apart, and of some tokens, likewise.
template <int COUNT, int TOKENS, typename Weight, typename Input>
inline void add_products(Lanes (&sums)[COUNT][TOKENS], const Weight* weight, const Input* x, int64_t columns) {
    for (int part = 0; part < 2 * PARTS; part++) {
        const int64_t at = part / PARTS * WIDTH;
        Lanes weights[COUNT];
        for (int row = 0; row < COUNT; row++) weights[row] = fetch(weight + row * columns + at, part % PARTS);
        for (int token = 0; token < TOKENS; token++) {
            Lanes input = load_lanes(x + token * columns + at + part % PARTS * LANES);
#if defined(__AVX2__) && !defined(__AVX512F__)
            asm("" : "+x"(input));  // else it is loaded again for each row, and loads take longer than products
#endif
            for (int row = 0; row < COUNT; row++) sums[row][token] = fused(weights[row], input, sums[row][token]);
        }
    }
}
#ifdef __AVX512BF16__  // two products a lane, in one instruction
template <int COUNT, int TOKENS>
inline void add_products(Lanes (&sums)[COUNT][TOKENS], const BFloat16* weight, const BFloat16* x, int64_t columns) {
    __m512bh weights[COUNT];
    for (int row = 0; row < COUNT; row++) weights[row] = (__m512bh)_mm512_loadu_si512(weight + row * columns);
    for (int token = 0; token < TOKENS; token++) {
        const __m512bh input = (__m512bh)_mm512_loadu_si512(x + token * columns);
        for (int row = 0; row < COUNT; row++)
            sums[row][token] = (Lanes)_mm512_dpbf16_ps((__m512)sums[row][token], weights[row], input);
    }
}
#endif

// The products of COUNT rows of a matrix with the vectors of some tokens, [row][token].
template <int COUNT, int TOKENS, typename Weight, typename Input>
inline void dots(const Weight* weight, const Input* x, int64_t columns, float* found) {
    Lanes sums[COUNT][TOKENS] = {};
    for (int64_t at = 0; at < columns; at += 2 * WIDTH) {
        for (int row = 0; row < COUNT; row++)  // asked for as they lie in memory, one row after another
            __builtin_prefetch(reinterpret_cast<const char*>(weight + at * COUNT + row * 2 * WIDTH) + PREFETCH_BYTES);
        add_products(sums, weight + at, x + at, columns);
    }
    Quarter folds[COUNT * TOKENS + 3] = {};  // the last ones to fill up four
    for (int at = 0; at < COUNT * TOKENS; at++) folds[at] = folded(sums[at / TOKENS][at % TOKENS]);
    for (int at = 0; at < COUNT * TOKENS; at += 4) {
        const Quarter four = four_sums(folds[at], folds[at + 1], folds[at + 2], folds[at + 3]);
        std::memcpy(found + at, &four, sizeof four);
    }
}

// Rows of a matrix, from `row` on, x vectors of `tokens` tokens, from `token` on: see `multiply`.
template <int COUNT, int TOKENS, typename Weight>
inline void block(const Matrix& matrix, const InputOf<Weight>* x, int64_t row, int64_t token, float* out, bool add) {
    const int64_t columns = matrix.columns;
    float found[COUNT * TOKENS + 3];
    dots<COUNT, TOKENS>(static_cast<const Weight*>(matrix.weight) + row * columns, x + token * columns, columns, found);
    if (matrix.scale) {
        for (int r = 0; r < COUNT; r++)
            for (int t = 0; t < TOKENS; t++) found[r * TOKENS + t] *= matrix.scale[row + r];
        asm volatile("" : : "r"(found) : "memory");  // else, for some numbers of tokens alone, fused with what is added
    }
    for (int r = 0; r < COUNT; r++)
        for (int t = 0; t < TOKENS; t++) {
            const float product = found[r * TOKENS + t], value = matrix.bias ? product + matrix.bias[row + r] : product;
            float& to = out[(token + t) * matrix.rows + row + r];
            to = add ? to + value : value;
        }
}

template <int TOKENS, typename Weight>
void rows(const Matrix& matrix, const InputOf<Weight>* x, Share part, int64_t token, float* out, bool add) {
    int64_t row = part.begin;
    for (; row + ROWS[TOKENS] <= part.end; row += ROWS[TOKENS])
        block<ROWS[TOKENS], TOKENS, Weight>(matrix, x, row, token, out, add);
    for (; row < part.end; row++) block<1, TOKENS, Weight>(matrix, x, row, token, out, add);
}

template <int TOKENS, typename Weight>
void rows(int tokens, const Matrix& matrix, const InputOf<Weight>* x, Share part, int64_t token, float* out, bool add) {
    if (tokens == TOKENS) return rows<TOKENS, Weight>(matrix, x, part, token, out, add);
    if constexpr (TOKENS > 1) rows<TOKENS - 1, Weight>(tokens, matrix, x, part, token, out, add);
}

// Rows `part` of matrix x vectors [tokens, columns], written to, or added to, [tokens, rows].
template <typename Weight>
void multiply(const Matrix& matrix, const InputOf<Weight>* x, int64_t tokens, Share part, float* out, bool add = false) {
    for (int64_t tile = part.begin; tile < part.end; tile += TILE)
        for (int64_t token = 0, size; token < tokens; token += size) {
            const int64_t left = tokens - token, groups = (left + TOGETHER - 1) / TOGETHER;
            size = (left + groups - 1) / groups;  // eight tokens are four and four, not six and two
            rows<TOGETHER, Weight>(size, matrix, x, {tile, std::min(tile + TILE, part.end)}, token, out, add);
        }
}

// Root mean square normalisation of one vector: Zhang and Sennrich 2019, arXiv:1910.07467.
template <typename Input>
void normalise(const float* x, const float* weight, int64_t size, float epsilon, Input* out) {
    Vector squares = {};
    for (int64_t at = 0; at < size; at += WIDTH) squares += load(x + at) * load(x + at);
    const float factor = 1 / std::sqrt(sum(squares) / size + epsilon);
    for (int64_t at = 0; at < size; at += WIDTH)
        store(out + at, load(x + at) * factor * load(weight + at));
}

void rotate(float* head, const float* cosines, const float* sines, int64_t half) {
    for (int64_t i = 0; i < half; i++) {
        const float first = head[i], second = head[half + i];
        head[i] = first * cosines[i] - second * sines[i];
        head[half + i] = second * cosines[i] + first * sines[i];
    }
}

// The scores of COUNT queries, `dim` apart, and PLACES positions, written to a row of `scores` for each query.
template <int COUNT, int PLACES, typename State>
inline void score(const float* queries, const State* keys, int64_t stride, int64_t dim, float* scores, int64_t row) {
    const float scale = 1 / std::sqrt(static_cast<float>(dim));
    Lanes sums[COUNT][PLACES] = {};
    for (int64_t at = 0; at < dim; at += LANES) {
        Lanes numbers[COUNT];
        for (int query = 0; query < COUNT; query++) numbers[query] = load_lanes(queries + query * dim + at);
        for (int place = 0; place < PLACES; place++) {
            const Lanes key = load_lanes(keys + place * stride + at);
            for (int query = 0; query < COUNT; query++) sums[query][place] = fused(numbers[query], key, sums[query][place]);
        }
    }
    for (int query = 0; query < COUNT; query++) {
        Quarter folds[4] = {};
        for (int place = 0; place < PLACES; place++) folds[place] = folded(sums[query][place]);
        const Quarter found = four_sums(folds[0], folds[1], folds[2], folds[3]) * scale;
        std::memcpy(scores + query * row, &found, PLACES * sizeof(float));
    }
}

// Turn `count` scores, padded to whole vectors, into their exponentials over the largest; return 1 / their sum.
inline float exponentials(float* scores, int64_t count, int64_t padded) {
    std::fill(scores + count, scores + padded, scores[0]);
    Lanes best = load_lanes(scores);
    for (int64_t at = LANES; at < padded; at += LANES) {
        const Lanes some = load_lanes(scores + at);
        best = best < some ? some : best;
    }
    float largest = best[0];
    for (int lane = 1; lane < LANES; lane++) largest = std::max(largest, best[lane]);
    for (int64_t at = 0; at < padded; at += LANES)
        store_lanes(scores + at, exponential(load_lanes(scores + at) - largest));
    std::fill(scores + count, scores + padded, 0.0f);
    Vector total = {};
    for (int64_t at = 0; at < count; at += WIDTH) total += load(scores + at);
    return 1 / sum(total);
}

// What COUNT queries of a token, `dim` apart, take from `count` positions whose keys and values are `stride` apart. Each
// key and value is widened once for all of them.
template <int COUNT, typename State, typename Input>
void attend(const float* queries, const State* keys, const State* values, int64_t stride, int64_t count, int64_t dim,
            float* scores, Input* out) {
    const int64_t padded = (count + WIDTH - 1) / WIDTH * WIDTH;
    int64_t position = 0;
    for (; position + 4 <= count; position += 4)
        score<COUNT, 4>(queries, keys + position * stride, stride, dim, scores + position, padded);
    for (; position < count; position++)
        score<COUNT, 1>(queries, keys + position * stride, stride, dim, scores + position, padded);
    float factors[COUNT];
    for (int query = 0; query < COUNT; query++) factors[query] = exponentials(scores + query * padded, count, padded);
    for (int64_t at = 0; at < dim; at += WIDTH) {
        Lanes mixed[COUNT][PARTS] = {};
        for (position = 0; position < count; position++)
            for (int part = 0; part < PARTS; part++) {
                const Lanes value = load_lanes(values + position * stride + at + part * LANES);
                for (int query = 0; query < COUNT; query++) {
                    const Lanes weight = scores[query * padded + position] - Lanes{};  // + would cost an addition
                    mixed[query][part] = fused(weight, value, mixed[query][part]);
                }
            }
        for (int query = 0; query < COUNT; query++) {
            float found[WIDTH];
            for (int part = 0; part < PARTS; part++)
                store_lanes(found + part * LANES, mixed[query][part] * factors[query]);
            store(out + query * dim + at, load(found));
        }
    }
}

// Weights are of one type; keys, values and the embedding of another, or the same.
template <typename Weight, typename State>
class Run {
    using Input = InputOf<Weight>;

  public:
    Run(const Model& model, const Pass& pass)
        : model(model), pass(pass), count(pass.rows * pass.tokens), half(model.head_dim / 2),
          all_heads(model.heads + 2 * model.key_heads), inner(model.blocks[0].down.columns),
          hidden(count * model.size), mixed(count * all_heads * model.head_dim), raw(count * 2 * inner),
          cosines(count * half), sines(count * half), context(count * model.heads * model.head_dim),
          gated(count * inner) {
        for (int64_t token = 0; token < count; token++) {
            embed(token);
            for (int64_t i = 0; i < half; i++) {
                const float angle = position(token) * model.frequencies[i];
                cosines[token * half + i] = std::cos(angle) * model.rotary_scale;
                sines[token * half + i] = std::sin(angle) * model.rotary_scale;
            }
        }
    }

    void layers() {  // each thread of a team calls it
        Buffer<Input> normed(count * model.size);
        Buffer<float> scores(QUERIES * (pass.capacity + WIDTH));
        for (int64_t layer = 0; layer < model.layers; layer++) {
            const Layer& block = model.blocks[layer];
            normalise_all<Input>(block.attention_norm, normed);
            multiply<Weight>(block.query_key_value, normed, count,
                             share(block.query_key_value.rows, 1), mixed);
#pragma omp barrier
            const Share heads = share(count * all_heads, 1);
            for (int64_t head = heads.begin; head < heads.end; head++) turn(block, layer, head);
#pragma omp barrier
            const Share groups = share(count * model.key_heads, 1);
            for (int64_t group = groups.begin; group < groups.end; group++) look(layer, group, scores);
#pragma omp barrier
            const Share part = share(model.size, 1);
            multiply<Weight>(block.attention_out, context, count, part, hidden, true);
#pragma omp barrier
            normalise_all<Input>(block.mlp_norm, normed);
            gate(block, normed);
#pragma omp barrier
            multiply<Weight>(block.down, gated, count, part, hidden, true);
#pragma omp barrier
        }
#pragma omp single
        normalise_all(model.norm, static_cast<StateOf<Weight>*>(pass.out));
    }

  private:
    int64_t position(int64_t token) const { return pass.lengths[token / pass.tokens] + token % pass.tokens; }

    void embed(int64_t token) {
        const State* row = static_cast<const State*>(model.embedding) + pass.ids[token] * model.size;
        for (int64_t at = 0; at < model.size; at += WIDTH)
            store(hidden + token * model.size + at, load(row + at));
    }

    template <typename Output>
    void normalise_all(const float* weight, Output* out) {
        for (int64_t at = 0; at < count * model.size; at += model.size)
            normalise(hidden + at, weight, model.size, model.epsilon, out + at);
    }

    int64_t slot(int64_t layer, int64_t token, int64_t at, int64_t key_head) const {
        const int64_t row = layer * pass.rows + token / pass.tokens;
        return ((row * pass.capacity + at) * model.key_heads + key_head) * model.head_dim;
    }

    // Rotate a query or key head of a token, and store keys and values.
    void turn(const Layer& block, int64_t layer, int64_t index) {
        const int64_t token = index / all_heads, head = index % all_heads, turned = model.heads + model.key_heads;
        float* at = mixed + index * model.head_dim;
        if (head < turned) {
            if (block.head_norm)
                normalise(at, block.head_norm + head * model.head_dim, model.head_dim, model.epsilon, at);
            rotate(at, cosines + token * half, sines + token * half, half);
        }
        if (head < model.heads) return;
        State* kept = static_cast<State*>(head < turned ? pass.keys : pass.values) +
                     slot(layer, token, position(token), (head - model.heads) % model.key_heads);
        for (int64_t i = 0; i < model.head_dim; i++) store(kept + i, at[i]);
    }

    // Attention of a token's queries that share a key head.
    void look(int64_t layer, int64_t index, float* scores) {
        const int64_t token = index / model.key_heads, key_head = index % model.key_heads;
        const int64_t sharing = model.heads / model.key_heads;
        for (int64_t taken = 0; taken < sharing; taken += QUERIES)
            look<QUERIES>(layer, token, key_head, key_head * sharing + taken, sharing - taken, scores);
    }

    template <int COUNT>  // the first COUNT, or as many as are left
    void look(int64_t layer, int64_t token, int64_t key_head, int64_t head, int64_t left, float* scores) {
        if constexpr (COUNT > 1)
            if (left < COUNT) return look<COUNT - 1>(layer, token, key_head, head, left, scores);
        const int64_t first = slot(layer, token, 0, key_head);
        attend<COUNT>(mixed + (token * all_heads + head) * model.head_dim,
                      static_cast<const State*>(pass.keys) + first, static_cast<const State*>(pass.values) + first,
                      model.key_heads * model.head_dim, position(token) + 1, model.head_dim, scores,
                      context + (token * model.heads + head) * model.head_dim);
    }

    // silu(gate) * up: Shazeer 2020, arXiv:2002.05202.
    void gate(const Layer& block, const Input* normed) {
        const Share part = share(inner, WIDTH);
        multiply<Weight>(block.gate_up, normed, count, part, raw);
        multiply<Weight>(block.gate_up, normed, count, {inner + part.begin, inner + part.end}, raw);
        for (int64_t token = 0; token < count; token++)
            for (int64_t at = part.begin; at < part.end; at += WIDTH) {
                const float *gates = raw + token * 2 * inner + at, *ups = gates + inner;
                float found[WIDTH];
                for (int lane = 0; lane < WIDTH; lane += LANES) {
                    const Lanes g = load_lanes(gates + lane);
                    store_lanes(found + lane, g / (1.0f + exponential(-g)) * load_lanes(ups + lane));
                }
                store(gated + token * inner + at, load(found));
            }
    }

    const Model& model;
    const Pass& pass;
    const int64_t count, half, all_heads, inner;
    Buffer<float> hidden, mixed, raw, cosines, sines;
    Buffer<Input> context, gated;
};

template <typename Weight, typename State>
int64_t run(const Model& model, const Pass& pass, int64_t threads) {
    for (int64_t token = 0; token < pass.rows * pass.tokens; token++)
        if (pass.ids[token] < 0 || pass.ids[token] >= model.vocabulary) return 1;
    Run<Weight, State> run(model, pass);
#pragma omp parallel num_threads(threads)
    run.layers();
    return 0;
}

template <typename Weight>
void project(const Matrix& matrix, const void* states, int64_t tokens, float* out, int64_t threads) {
    const auto* from = static_cast<const StateOf<Weight>*>(states);
    Buffer<InputOf<Weight>> x(tokens * matrix.columns);
    for (int64_t at = 0; at < tokens * matrix.columns; at += WIDTH) store(x + at, load(from + at));
#pragma omp parallel num_threads(threads)
    multiply<Weight>(matrix, x, tokens, share(matrix.rows, 1), out);
}

}  // namespace

// Called by `cpu_backend.py`, for each type of weights and of the cache. A pass returns 1 for ids outside the vocabulary.
extern "C" {

int64_t pass_float32(const Model* model, const Pass* pass, int64_t threads) {
    return run<float, float>(*model, *pass, threads);
}
int64_t pass_bfloat16(const Model* model, const Pass* pass, int64_t threads) {
    return run<BFloat16, BFloat16>(*model, *pass, threads);
}
int64_t pass_int8_float32(const Model* model, const Pass* pass, int64_t threads) {
    return run<int8_t, float>(*model, *pass, threads);
}
int64_t pass_int8_bfloat16(const Model* model, const Pass* pass, int64_t threads) {
    return run<int8_t, BFloat16>(*model, *pass, threads);
}
void project_int8(const Matrix* matrix, const float* x, int64_t tokens, float* out, int64_t threads) {
    project<int8_t>(*matrix, x, tokens, out, threads);
}
void project_float32(const Matrix* matrix, const void* x, int64_t tokens, float* out, int64_t threads) {
    project<float>(*matrix, x, tokens, out, threads);
}
void project_bfloat16(const Matrix* matrix, const void* x, int64_t tokens, float* out, int64_t threads) {
    project<BFloat16>(*matrix, x, tokens, out, threads);
}

}  // extern "C"
