// The sparse coding of one LZSC block, streamed over the rows of an image.
//
// Plain C++20 with GCC/Clang vector types, no header of torch: native.py compiles it on the machine
// that runs it and calls fnet_float / fnet_double through ctypes. What it computes is eq. 15-21 of
// arXiv 2411.04519 (models/fnet.py); how, in short:
//
// - Tiles of 4x4 pixels. A k x k convolution is cut into 3x3 pieces, and each piece is a product of
//   polynomials, evaluated at 6 x 6 points (Toom-Cook / Winograd F(4, 3) in both directions,
//   nested): 36 multiplications for 16 pixels instead of 144. All pieces and maps are summed at the
//   points.
// - C -> M maps ("analysis") is the correlation form, M -> C ("synthesis") its transpose: tiles of
//   the code are evaluated, multiplied, summed over atoms, and their 6x6 patches are added up.
// - A chunk is 16 tiles side by side; one vector lane is one tile. Maps are kept with their columns
//   split by column modulo 4, so that every load is contiguous. Nothing is ever shuffled.
// - Convolution, momentum, threshold and synthesis of a chunk happen while it is in cache; the
//   64-channel codes live in rings of a few rows of tiles. Iteration k works `lag` rows of tiles
//   behind iteration k - 1, all iterations at once, so that threads meet only twice a row of tiles.
// - The sigmoidal threshold jumps at 0, so the sign of a value near 0 matters. Where the transform
//   leaves no more than what it may have rounded away, in view of the kernel and of the largest
//   value around, the value is computed again directly in double precision; where the input is 0
//   all around (black borders), the result is exactly 0.

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#if defined(__AVX512F__)
#define FNET_BYTES 64
#elif defined(__AVX__)
#define FNET_BYTES 32
#else
#define FNET_BYTES 16
#endif

#define FNET_INLINE inline __attribute__((always_inline))

// Keep a vector in a register: compilers would load it anew for every use, and loads are the limit.
#if defined(__x86_64__)
#define FNET_KEEP(vector) asm("" : "+x"(vector))
#elif defined(__aarch64__)
#define FNET_KEEP(vector) asm("" : "+w"(vector))
#else
#define FNET_KEEP(vector)
#endif

namespace {

constexpr int STEP = 4;    // pixels of a tile, each way
constexpr int TAPS = 3;    // of a piece of the kernel, each way
constexpr int POINTS = 6;  // where polynomials are evaluated, each way
constexpr int ALL = POINTS * POINTS;
constexpr int PIXELS = STEP * STEP;
constexpr int LANES = 16;  // tiles of a chunk
constexpr int GROUP = 16;  // atoms that go from the points to the threshold together
// Rows of accumulators, as registers allow.
constexpr int ATOMS_AT_ONCE = FNET_BYTES == 64 ? 16 : 6;
constexpr int MAPS_AT_ONCE = FNET_BYTES == 64 ? 9 : 6;

// What the transforms may round away, in parts of the kernel's norm times the largest value in
// sight; measured: 2 epsilons mostly, 37 at most.
template <class T>
constexpr T TINY = 80 * std::numeric_limits<T>::epsilon();

// Values of a group at one point. The odd cache line keeps the 36 points of an atom from falling
// into the same few sets of the first cache.
template <class T>
constexpr int GROUP_SIZE = GROUP * LANES + 64 / sizeof(T);

// The points 0, +-P, +-Q and infinity: of those tried, they round least.
constexpr double P = 0.75, Q = 1.5;

enum Threshold { SIGMOIDAL = 0, SOFT = 1, HARD = 2 };

// --- what Python hands over ----------------------------------------------------------------------

extern "C" struct FnetStage {
    double theta;
    double newest, older;          // factors of x_{k-1} and x_{k-2}
    int32_t sources;               // groups of C maps that come from earlier codes: 0, 1 or 2
    int32_t source_stage[2];       // the iteration whose code they were synthesised from
    int32_t source_map[2];         // and their first map there
    int32_t outputs;               // maps synthesised from this iteration's code
    const void* analysis;          // at the points: [36][A / GROUP][inputs][GROUP]
    const void* synthesis;         // at the points: [36][A / GROUP][n / MAPS][GROUP][MAPS]
    const void* analysis_direct;   // [A][maps][k][k]
    const void* synthesis_direct;  // [outputs][A][k][k]
    const void* analysis_norms;    // [A][maps]: roots of the sums of squares
    const void* synthesis_norms;   // [outputs], over all atoms
};

extern "C" struct FnetBlock {
    int32_t channels, atoms, real_atoms, kernel_size, stages, threshold;
    double alpha, gamma;
    const FnetStage* stage;
};

extern "C" struct FnetStream {
    const FnetBlock* block;
    const void* input;  // (C, H, W)
    void* output;       // (outputs of the last stage, H, W)
    void* codes;        // (real_atoms, H, W) or null
};

// --- vectors -------------------------------------------------------------------------------------

template <class T>
struct Simd;

template <>
struct Simd<float> {
    typedef float V __attribute__((vector_size(FNET_BYTES), may_alias));
    typedef float U __attribute__((vector_size(FNET_BYTES), may_alias, aligned(4)));
    typedef int32_t I __attribute__((vector_size(FNET_BYTES), may_alias));
    typedef float Part __attribute__((vector_size(FNET_BYTES / 2), may_alias, aligned(4)));
    static constexpr int32_t SIGN = INT32_MIN;
    typedef int32_t Int;
};

template <>
struct Simd<double> {
    typedef double V __attribute__((vector_size(FNET_BYTES), may_alias));
    typedef double U __attribute__((vector_size(FNET_BYTES), may_alias, aligned(8)));
    typedef int64_t I __attribute__((vector_size(FNET_BYTES), may_alias));
    typedef double Part __attribute__((vector_size(FNET_BYTES), may_alias, aligned(8)));
    static constexpr int64_t SIGN = INT64_MIN;
    typedef int64_t Int;
};

template <class T>
using V = typename Simd<T>::V;
template <class T>
using I = typename Simd<T>::I;
template <class T>
constexpr int WIDE = FNET_BYTES / sizeof(T);  // lanes of a register
template <class T>
constexpr int REGISTERS = LANES / WIDE<T>;  // that hold a chunk's 16 tiles

template <class T>
FNET_INLINE V<T> load(const T* from) {
    return *reinterpret_cast<const typename Simd<T>::U*>(from);
}
template <class T>
FNET_INLINE void store(T* to, V<T> value) {
    *reinterpret_cast<typename Simd<T>::U*>(to) = value;
}
template <class T>
FNET_INLINE V<T> all(T value) {
    return V<T>{} + value;
}

// exp(x) in single precision to 2 units in the last place, for x in [-87, 87].
FNET_INLINE V<float> exponential(V<float> x) {
    const V<float> magic = all(12582912.0f);
    const V<float> rounded = x * 1.44269504f + magic;
    const V<float> n = rounded - magic;
    const V<float> f = x * 1.44269504f - n + x * 1.92596299e-8f;
    V<float> p = all(1.5353362e-4f);
    p = p * f + 1.3398874e-3f;
    p = p * f + 9.6184373e-3f;
    p = p * f + 5.5503324e-2f;
    p = p * f + 2.4022648e-1f;
    p = p * f + 6.9314720e-1f;
    p = p * f + 1.0f;
    const I<float> power = reinterpret_cast<const I<float>&>(rounded) << 23;
    const I<float> bits = reinterpret_cast<const I<float>&>(p) + power;
    return reinterpret_cast<const V<float>&>(bits);
}

FNET_INLINE V<double> exponential(V<double> x) {
    V<double> y;
    for (int i = 0; i < WIDE<double>; i++) y[i] = std::exp(x[i]);
    return y;
}

template <class T>
FNET_INLINE V<T> choose(I<T> mask, V<T> value) {
    const I<T> bits = reinterpret_cast<const I<T>&>(value) & mask;
    return reinterpret_cast<const V<T>&>(bits);
}

template <class T>
FNET_INLINE V<T> magnitude(V<T> x) {
    return choose<T>(~(I<T>{} + Simd<T>::SIGN), x);
}

template <class T>
FNET_INLINE V<T> larger(V<T> x, V<T> y) {
    return x > y ? x : y;
}

template <class T>
FNET_INLINE V<T> with_sign_of(V<T> value, V<T> x) {
    const I<T> sign = reinterpret_cast<const I<T>&>(x) & (I<T>{} + Simd<T>::SIGN);
    const I<T> bits = reinterpret_cast<const I<T>&>(value) ^ sign;
    return choose<T>(x != 0, reinterpret_cast<const V<T>&>(bits));
}

template <class T>
struct Shrink {
    int kind;
    T theta, loss, gamma;  // loss = alpha theta

    FNET_INLINE V<T> operator()(V<T> x) const {
        const V<T> size = magnitude<T>(x);
        if (kind == HARD) return choose<T>(size > theta, x);
        if (kind == SOFT) return with_sign_of<T>(choose<T>(~(size <= theta), size - theta), x);
        V<T> t = (theta - size) * gamma;
        t = t < T(-87) ? all<T>(-87) : t;
        t = t > T(87) ? all<T>(87) : t;
        return with_sign_of<T>((size - loss) / (exponential(t) + 1), x);
    }
};

// --- one-dimensional transforms ------------------------------------------------------------------

// A: the values of a polynomial with 4 coefficients at the 6 points.
template <class T>
FNET_INLINE void evaluate(const V<T>* x, int xs, V<T>* y, int ys) {
    constexpr T p = P, q = Q, pp = P * P, qq = Q * Q;
    const V<T> pe = x[0] + x[2 * xs] * pp, po = (x[xs] + x[3 * xs] * pp) * p;
    const V<T> qe = x[0] + x[2 * xs] * qq, qo = (x[xs] + x[3 * xs] * qq) * q;
    y[0] = x[0];
    y[ys] = pe + po;
    y[2 * ys] = pe - po;
    y[3 * ys] = qe + qo;
    y[4 * ys] = qe - qo;
    y[5 * ys] = x[3 * xs];
}

// A transposed: 4 pixels of a correlation from its 6 products.
template <class T>
FNET_INLINE void collapse(const V<T>* m, int ms, V<T>* y, int ys) {
    constexpr T p = P, q = Q, pp = P * P, qq = Q * Q, ppp = P * P * P, qqq = Q * Q * Q;
    const V<T> ps = m[ms] + m[2 * ms], pd = m[ms] - m[2 * ms];
    const V<T> qs = m[3 * ms] + m[4 * ms], qd = m[3 * ms] - m[4 * ms];
    y[0] = m[0] + ps + qs;
    y[ys] = pd * p + qd * q;
    y[2 * ys] = ps * pp + qs * qq;
    y[3 * ys] = pd * ppp + qd * qqq + m[5 * ms];
}

// C: the 6 coefficients of a polynomial from its 6 values (their factors are in the kernels).
template <class T>
FNET_INLINE void interpolate(const V<T>* v, int vs, V<T>* c, int cs) {
    constexpr T pp = P * P, qq = Q * Q, ppqq = pp * qq, sum = pp + qq;
    constexpr T pqq = P * qq, qpp = Q * pp, p = P, q = Q;
    const V<T> ps = v[vs] + v[2 * vs], pd = v[vs] - v[2 * vs];
    const V<T> qs = v[3 * vs] + v[4 * vs], qd = v[3 * vs] - v[4 * vs];
    const V<T> first = v[0], last = v[5 * vs];
    c[0] = first * ppqq;
    c[cs] = last * ppqq - pd * pqq - qd * qpp;
    c[2 * cs] = -(first * sum + ps * qq + qs * pp);
    c[3 * cs] = pd * p + qd * q - last * sum;
    c[4 * cs] = first + ps + qs;
    c[5 * cs] = last;
}

// C transposed: 6 neighbouring pixels to the 6 points.
template <class T>
FNET_INLINE void spread(const V<T>* d, int ds, V<T>* v, int vs) {
    constexpr T pp = P * P, qq = Q * Q, ppqq = pp * qq, sum = pp + qq, p = P, q = Q;
    const V<T> d0 = d[0], d1 = d[ds], d2 = d[2 * ds], d3 = d[3 * ds], d4 = d[4 * ds];
    const V<T> pe = d4 - d2 * qq, po = (d3 - d1 * qq) * p;
    const V<T> qe = d4 - d2 * pp, qo = (d3 - d1 * pp) * q;
    v[0] = d0 * ppqq - d2 * sum + d4;
    v[vs] = pe + po;
    v[2 * vs] = pe - po;
    v[3 * vs] = qe + qo;
    v[4 * vs] = qe - qo;
    v[5 * vs] = d1 * ppqq - d3 * sum + d[5 * ds];
}

// --- memory --------------------------------------------------------------------------------------

template <class T>
class Array {
   public:
    Array() = default;
    explicit Array(size_t size) {
        const size_t bytes = (size * sizeof(T) + 63) / 64 * 64 + 64;
        memory.reset(static_cast<char*>(std::calloc(bytes + 64, 1)));
        if (!memory) throw std::bad_alloc();
        start =
            reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(memory.get()) + 63) & ~uintptr_t(63));
    }
    T* get() const { return start; }
    T& operator[](size_t i) const { return start[i]; }

   private:
    struct Free {
        void operator()(char* p) const { std::free(p); }
    };
    std::unique_ptr<char, Free> memory;
    T* start = nullptr;
};

// --- geometry ------------------------------------------------------------------------------------

struct Shape {
    int height, width, pad, pieces;  // pieces of the kernel, each way
    int span;                        // pixels that a tile's transforms take, each way
    int seen;  // and those of them that matter: the last may meet a tap of 0 only
    int lag;   // rows of tiles between an iteration and the next
    int tile_rows, chunks;
    int wide;                    // length of one of the four column phases of a row
    int rows;                    // rows of a map with its margins
    std::vector<size_t> places;  // of the columns from a tile's first one on, in a row

    Shape(int height, int width, int kernel_size) : height(height), width(width) {
        pad = kernel_size / 2;
        pieces = (kernel_size + TAPS - 1) / TAPS;
        span = TAPS * (pieces - 1) + POINTS;
        seen = span - (kernel_size % TAPS != 0);
        lag = (span - 1) / STEP + 1;
        tile_rows = (height + STEP - 1) / STEP;
        chunks = (width + STEP * LANES - 1) / (STEP * LANES);
        wide = (chunks * LANES + span / STEP + 2 + 15) / 16 * 16;
        rows = tile_rows * STEP + span;
        for (int c = 0; c < STEP + kernel_size; c++) places.push_back(column(c));
    }
    int overhang() const { return (span - 1) / STEP; }  // tiles that patches reach to the right
    int slot_wide() const { return LANES + overhang(); }
    size_t row_size() const { return size_t(STEP) * wide; }
    size_t map_size() const { return rows * row_size(); }
    // Place of a column, counted from the left margin, in a row.
    size_t column(int c) const { return size_t(c % STEP) * wide + c / STEP; }
};

// --- one block on its way over the image ---------------------------------------------------------

template <class T>
struct Scratch {
    size_t input_count = 0, map_count = 0, sum_count = 0;
    Array<T> inputs;    // [36][inputs][LANES]
    Array<T> peaks;     // [maps][LANES]: the largest of what a tile sees, its sign dropped
    Array<T> products;  // [36][GROUP][LANES]
    Array<T> codes;     // [36][GROUP][LANES]
    Array<T> sums;      // [36][n][LANES]
    Array<T> patch;     // [span][span][LANES]
    Array<T> columns;   // [6][span][LANES]
};

template <class T>
class Stream {
   public:
    Stream(const FnetStream& given, int height, int width)
        : block(*given.block),
          shape(height, width, block.kernel_size),
          output(static_cast<T*>(given.output)),
          dense_codes(static_cast<T*>(given.codes)),
          input(block.channels * shape.map_size()),
          distance(size_t(height) * width) {
        const T* dense = static_cast<const T*>(given.input);
        for (int c = 0; c < block.channels; c++)
            for (int r = 0; r < height; r++, dense += width) {
                T* row = input.get() + c * shape.map_size() + (r + shape.pad) * shape.row_size();
                for (int x = 0; x < width; x++) row[shape.column(x + shape.pad)] = dense[x];
            }
        measure_distance();
        const size_t code = size_t(shape.chunks) * block.atoms * PIXELS * LANES;
        for (int k = 0; k < block.stages; k++) {
            const FnetStage& stage = block.stage[k];
            ring.push_back(k + 1 == block.stages ? shape.lag : 2 * shape.lag + 1);
            states.emplace_back(ring[k] * code);
            maps.emplace_back(stage.outputs * shape.map_size());
            slots.emplace_back(shape.chunks * slot_size(stage));
            is_empty.emplace_back(size_t(shape.chunks));
            peaks.emplace_back(is_dark ? size_t(shape.tile_rows) * shape.chunks * LANES : 0);
        }
    }

    const Shape& get_shape() const { return shape; }
    int stages() const { return block.stages; }
    int steps() const { return shape.tile_rows + shape.lag * (block.stages - 1); }

    void prepare(Scratch<T>& scratch) const {
        for (int k = 0; k < block.stages; k++) {
            scratch.input_count =
                std::max(scratch.input_count, size_t(input_count(block.stage[k])));
            scratch.map_count = std::max(scratch.map_count, size_t(map_count(block.stage[k])));
            scratch.sum_count = std::max(scratch.sum_count, size_t(padded_outputs(block.stage[k])));
        }
        scratch.inputs = Array<T>(ALL * scratch.input_count * LANES);
        scratch.peaks = Array<T>(scratch.map_count * LANES);
        scratch.products = Array<T>(ALL * GROUP_SIZE<T>);
        scratch.codes = Array<T>(ALL * GROUP_SIZE<T>);
        scratch.sums = Array<T>(ALL * scratch.sum_count * LANES);
        scratch.patch = Array<T>(size_t(shape.span) * shape.span * LANES);
        scratch.columns = Array<T>(size_t(POINTS) * shape.span * LANES);
    }

    // x_k of one chunk in the row of tiles whose turn it is, and its synthesised patches.
    void encode(int k, int row, int chunk, Scratch<T>& scratch) {
        const FnetStage& stage = block.stage[k];
        const int reach = shape.pad * (1 + 2 * k);  // beyond it from all light, x_k is exactly 0
        int nearest, farthest;
        distances_in(row, chunk, nearest, farthest);
        is_empty[k][chunk] = nearest > reach;
        if (nearest > reach) {
            std::memset(state(k, row, chunk), 0, sizeof(T) * block.atoms * PIXELS * LANES);
            if (k + 1 == block.stages && dense_codes) write_codes(row, chunk);
            return;
        }
        alignas(64) typename Simd<T>::Int live[PIXELS * LANES];
        const bool is_masked = mark_live(row, chunk, farthest > reach ? reach : INT32_MAX, live);
        to_points(stage, row, chunk, scratch);
        std::memset(scratch.sums.get(), 0, sizeof(T) * ALL * padded_outputs(stage) * LANES);
        for (int group = 0; group < block.atoms / GROUP; group++) {
            multiply_inputs(stage, group, scratch);
            shrink_group(k, row, chunk, group, is_masked ? live : nullptr, scratch);
            multiply_codes(stage, group, scratch);
        }
        from_points(stage, scratch, slots[k].get() + chunk * slot_size(stage));
        if (is_dark) note_peaks(k, row, chunk);
        if (k + 1 == block.stages && dense_codes) write_codes(row, chunk);
    }

    // Add the patches of a row of tiles to the maps, and finish the rows that nothing else reaches.
    void assemble(int k, int row) {
        const FnetStage& stage = block.stage[k];
        const int wide = shape.slot_wide();
        for (int chunk = 0; chunk < shape.chunks; chunk++) {
            if (is_empty[k][chunk]) continue;
            const T* from = slots[k].get() + chunk * slot_size(stage);
            for (int o = 0; o < stage.outputs; o++)
                for (int r = 0; r < shape.span; r++) {
                    T* to = map(k, o) + (row * STEP + r) * shape.row_size() + chunk * LANES;
                    for (int phase = 0; phase < STEP; phase++, from += wide)
                        for (int i = 0; i < wide; i++)
                            to[phase * size_t(shape.wide) + i] += from[i];
                }
        }
        const bool is_last = row + 1 == shape.tile_rows;
        const int end = is_last ? shape.rows : (row + 1) * STEP;
        for (int o = 0; o < stage.outputs; o++)
            for (int r = row * STEP; r < end; r++) finish(k, o, r);
    }

   private:
    const FnetBlock& block;
    const Shape shape;
    T* output;
    T* dense_codes;
    Array<T> input;
    Array<uint16_t> distance;      // of each pixel to the nearest input that is not 0
    bool is_dark = false;          // whether any distance is above 0
    std::vector<int> ring;         // rows of tiles that are kept of each x_k
    std::vector<Array<T>> states;  // [ring][chunk][A][16 pixels][LANES]
    std::vector<Array<T>> maps;    // [outputs][rows][4 phases][wide]
    std::vector<Array<T>> slots;   // [chunk][outputs][span][4 phases][slot_wide]
    std::vector<Array<char>> is_empty;
    std::vector<Array<T>>
        peaks;  // of the codes, [tile_rows][chunk][LANES], where the image is dark

    int map_count(const FnetStage& stage) const { return (stage.sources + 1) * block.channels; }
    int input_count(const FnetStage& stage) const {
        return map_count(stage) * shape.pieces * shape.pieces;
    }
    int padded_outputs(const FnetStage& stage) const {
        const int n = stage.outputs * shape.pieces * shape.pieces;
        return (n + MAPS_AT_ONCE - 1) / MAPS_AT_ONCE * MAPS_AT_ONCE;
    }
    size_t slot_size(const FnetStage& stage) const {
        return size_t(stage.outputs) * shape.span * STEP * shape.slot_wide();
    }
    T* map(int k, int o) const { return maps[k].get() + o * shape.map_size(); }
    T* state(int k, int row, int chunk) const {
        const size_t place = size_t(row % ring[k]) * shape.chunks + chunk;
        return states[k].get() + place * block.atoms * PIXELS * LANES;
    }
    // The maps that stage k analyses: of x_{k-1}, of x_{k-2}, then the input.
    const T* source(const FnetStage& stage, int i) const {
        const int group = i / block.channels, c = i % block.channels;
        if (group == stage.sources) return input.get() + c * shape.map_size();
        return map(stage.source_stage[group], stage.source_map[group] + c);
    }

    // Chessboard distance, in two passes.
    void measure_distance() {
        const int height = shape.height, width = shape.width;
        constexpr uint16_t far = 60000;
        for (int r = 0; r < height; r++)
            for (int c = 0; c < width; c++) {
                bool is_light = false;
                for (int i = 0; i < block.channels && !is_light; i++)
                    is_light = input[i * shape.map_size() + (r + shape.pad) * shape.row_size() +
                                     shape.column(c + shape.pad)] != 0;
                distance[size_t(r) * width + c] = is_light ? 0 : far;
                is_dark = is_dark || !is_light;
            }
        if (!is_dark) return;
        auto near = [&](int r, int c) -> int {
            return r < 0 || r >= height || c < 0 || c >= width ? far
                                                               : distance[size_t(r) * width + c];
        };
        auto take = [&](int r, int c, int side) {
            int best = near(r, c);
            const int around[] = {near(r + side, c - 1), near(r + side, c), near(r + side, c + 1),
                                  near(r, c + side)};
            for (int other : around) best = std::min(best, other + 1);
            distance[size_t(r) * width + c] = uint16_t(std::min<int>(best, far));
        };
        for (int r = 0; r < height; r++)
            for (int c = 0; c < width; c++) take(r, c, -1);
        for (int r = height - 1; r >= 0; r--)
            for (int c = width - 1; c >= 0; c--) take(r, c, 1);
    }

    void distances_in(int row, int chunk, int& nearest, int& farthest) const {
        nearest = farthest = 0;
        if (!is_dark) return;
        nearest = INT32_MAX;
        for (int r = row * STEP; r < std::min(shape.height, (row + 1) * STEP); r++) {
            const int left = chunk * LANES * STEP;
            for (int c = left; c < std::min(shape.width, left + LANES * STEP); c++) {
                nearest = std::min<int>(nearest, distance[size_t(r) * shape.width + c]);
                farthest = std::max<int>(farthest, distance[size_t(r) * shape.width + c]);
            }
        }
    }

    // Mark the pixels that lie in the image and within reach of light; false: all of them do.
    bool mark_live(int row, int chunk, int reach, typename Simd<T>::Int* live) const {
        const int right = (chunk + 1) * LANES * STEP, bottom = (row + 1) * STEP;
        if (reach == INT32_MAX && right <= shape.width && bottom <= shape.height) return false;
        for (int pixel = 0; pixel < PIXELS; pixel++)
            for (int lane = 0; lane < LANES; lane++) {
                const int r = row * STEP + pixel / STEP;
                const int c = (chunk * LANES + lane) * STEP + pixel % STEP;
                const bool is_live = r < shape.height && c < shape.width &&
                                     distance[size_t(r) * shape.width + c] <= reach;
                live[pixel * LANES + lane] = is_live ? -1 : 0;
            }
        return true;
    }

    void to_points(const FnetStage& stage, int row, int chunk, Scratch<T>& scratch) const {
        const int inputs = input_count(stage), span = shape.span;
        int q = 0;
        for (int i = 0; i < map_count(stage); i++) {
            const T* top = source(stage, i) + size_t(row) * STEP * shape.row_size() + chunk * LANES;
            T* peaks = scratch.peaks.get() + i * LANES;
            std::memset(peaks, 0, sizeof(T) * LANES);
            for (int piece = 0; piece < shape.pieces; piece++) {
                const T* from = top + size_t(piece) * TAPS * shape.row_size();
                V<T>* columns = reinterpret_cast<V<T>*>(scratch.columns.get());
                for (int s = 0; s < span; s++)
                    for (int n = 0; n < REGISTERS<T>; n++) {
                        V<T> pixel[POINTS];
                        for (int a = 0; a < POINTS; a++)
                            pixel[a] =
                                load(from + a * shape.row_size() + shape.column(s) + n * WIDE<T>);
                        V<T> peak = load(peaks + n * WIDE<T>);
                        for (int a = 0; a < POINTS; a++)
                            if (s < shape.seen && piece * TAPS + a < shape.seen)
                                peak = larger<T>(peak, magnitude<T>(pixel[a]));
                        store(peaks + n * WIDE<T>, peak);
                        spread<T>(pixel, 1, columns + s * REGISTERS<T> + n, span * REGISTERS<T>);
                    }
                for (int j = 0; j < shape.pieces; j++, q++)
                    for (int a = 0; a < POINTS; a++)
                        for (int n = 0; n < REGISTERS<T>; n++)
                            spread<T>(columns + (a * span + j * TAPS) * REGISTERS<T> + n,
                                      REGISTERS<T>,
                                      reinterpret_cast<V<T>*>(scratch.inputs.get()) +
                                          (size_t(a) * POINTS * inputs + q) * REGISTERS<T> + n,
                                      inputs * REGISTERS<T>);
            }
        }
    }

    void multiply_inputs(const FnetStage& stage, int group, Scratch<T>& scratch) const {
        const int inputs = input_count(stage), groups = block.atoms / GROUP;
        for (int point = 0; point < ALL; point++) {
            const T* kernels = static_cast<const T*>(stage.analysis) +
                               (size_t(point) * groups + group) * inputs * GROUP;
            const T* values = scratch.inputs.get() + size_t(point) * inputs * LANES;
            T* to = scratch.products.get() + size_t(point) * GROUP_SIZE<T>;
            constexpr int whole = GROUP / ATOMS_AT_ONCE * ATOMS_AT_ONCE;
            for (int a = 0; a < whole; a += ATOMS_AT_ONCE)
                multiply_atoms<ATOMS_AT_ONCE>(values, kernels + a, inputs, to + a * LANES);
            if constexpr (whole < GROUP)
                multiply_atoms<GROUP - whole>(values, kernels + whole, inputs, to + whole * LANES);
        }
    }

    template <int ATOMS>
    static FNET_INLINE void multiply_atoms(const T* values, const T* kernels, int inputs, T* to) {
        V<T> sum[ATOMS][REGISTERS<T>] = {};
        for (int q = 0; q < inputs; q++, values += LANES, kernels += GROUP) {
            V<T> value[REGISTERS<T>];
            for (int n = 0; n < REGISTERS<T>; n++) {
                value[n] = load(values + n * WIDE<T>);
                FNET_KEEP(value[n]);
            }
            for (int i = 0; i < ATOMS; i++)
                for (int n = 0; n < REGISTERS<T>; n++) sum[i][n] += value[n] * kernels[i];
        }
        for (int i = 0; i < ATOMS; i++)
            for (int n = 0; n < REGISTERS<T>; n++) store(to + i * LANES + n * WIDE<T>, sum[i][n]);
    }

    void shrink_group(int k, int row, int chunk, int group, const typename Simd<T>::Int* live,
                      Scratch<T>& scratch) {
        const FnetStage& stage = block.stage[k];
        const Shrink<T> shrink{block.threshold, T(stage.theta), T(block.alpha * stage.theta),
                               T(std::min(block.gamma, double(std::numeric_limits<T>::max())))};
        const size_t first = size_t(group) * GROUP * PIXELS * LANES;
        const bool has_newest = k > 0, has_older = k > 1 && stage.older != 0;
        T* result = state(k, row, chunk) + first;
        const T* newest = has_newest ? state(k - 1, row, chunk) + first : nullptr;
        const T* older = has_older ? state(k - 2, row, chunk) + first : nullptr;
        const int count = map_count(stage);
        const T* norms =
            static_cast<const T*>(stage.analysis_norms) + size_t(group) * GROUP * count;
        const T by_newest = T(stage.newest), by_older = T(stage.older);
        constexpr int N = REGISTERS<T>, NEXT = GROUP_SIZE<T> / WIDE<T>;
        for (int a = 0; a < GROUP; a++) {
            const V<T>* product = reinterpret_cast<const V<T>*>(scratch.products.get()) + a * N;
            V<T>* points = reinterpret_cast<V<T>*>(scratch.codes.get()) + a * N;
            const size_t atom = size_t(a) * PIXELS * LANES;
            for (int n = 0; n < N; n++) {
                V<T> half[STEP][POINTS], x[PIXELS];
                for (int c = 0; c < POINTS; c++)
                    collapse<T>(product + c * NEXT + n, POINTS * NEXT, &half[0][c], POINTS);
                for (int r = 0; r < STEP; r++) collapse<T>(half[r], 1, x + r * STEP, 1);
                V<T> tiny = {};
                for (int i = 0; i < count; i++)
                    tiny +=
                        load(scratch.peaks.get() + i * LANES + n * WIDE<T>) * norms[a * count + i];
                tiny *= TINY<T>;
                I<T> is_tiny = {};
                for (int i = 0; i < PIXELS; i++) {
                    const size_t at = atom + i * LANES + n * WIDE<T>;
                    if (live)
                        x[i] = choose<T>(
                            *reinterpret_cast<const I<T>*>(live + i * LANES + n * WIDE<T>), x[i]);
                    if (has_newest) x[i] += load(newest + at) * by_newest;
                    if (has_older) x[i] += load(older + at) * by_older;
                    is_tiny |= magnitude<T>(x[i]) < tiny;
                }
                if (block.threshold == SIGMOIDAL && any(is_tiny))
                    repeat_tiny(k, row, chunk, group * GROUP + a, n, tiny, live, x);
                for (int i = 0; i < PIXELS; i++) {
                    x[i] = shrink(x[i]);
                    if (live)
                        x[i] = choose<T>(
                            *reinterpret_cast<const I<T>*>(live + i * LANES + n * WIDE<T>), x[i]);
                    store(result + atom + i * LANES + n * WIDE<T>, x[i]);
                }
                V<T> tall[POINTS][STEP];
                for (int c = 0; c < STEP; c++) evaluate<T>(x + c, STEP, &tall[0][c], STEP);
                for (int r = 0; r < POINTS; r++)
                    evaluate<T>(tall[r], 1, points + r * POINTS * NEXT + n, NEXT);
            }
        }
    }

    static FNET_INLINE bool any(I<T> mask) {
        typename Simd<T>::Int found = 0;
        for (int i = 0; i < WIDE<T>; i++) found |= mask[i];
        return found != 0;
    }

    // Compute values near 0 again, directly, so that they have the right sign.
    __attribute__((noinline)) void repeat_tiny(int k, int row, int chunk, int atom, int n,
                                               V<T> tiny, const typename Simd<T>::Int* live,
                                               V<T>* x) const {
        for (int i = 0; i < PIXELS; i++) {
            I<T> is_tiny = magnitude<T>(x[i]) < tiny;
            if (live) is_tiny &= *reinterpret_cast<const I<T>*>(live + i * LANES + n * WIDE<T>);
            if (!any(is_tiny)) continue;
            alignas(64) T again[WIDE<T>];
            for (int w = 0; w < WIDE<T>; w += WIDE<double>)
                exactly(k, row, chunk, atom, i, n * WIDE<T> + w, again + w);
            x[i] = is_tiny ? load(again) : x[i];
        }
    }

    // As many lanes as fit in double precision, from `lane` on.
    void exactly(int k, int row, int chunk, int atom, int pixel, int lane, T* to) const {
        using Part = typename Simd<T>::Part;
        const auto widened = [](const T* from) {
            return __builtin_convertvector(*reinterpret_cast<const Part*>(from), V<double>);
        };
        const FnetStage& stage = block.stage[k];
        const int size = block.kernel_size, count = map_count(stage);
        const int top = row * STEP + pixel / STEP;
        const size_t* places = shape.places.data() + pixel % STEP;
        const T* kernel =
            static_cast<const T*>(stage.analysis_direct) + size_t(atom) * count * size * size;
        V<double> sum = {}, other = {};
        for (int i = 0; i < count; i++) {
            const T* from = source(stage, i) + top * shape.row_size() + chunk * LANES + lane;
            for (int r = 0; r < size; r++, from += shape.row_size(), kernel += size) {
                sum += widened(from + places[0]) * double(kernel[0]);
                for (int c = 1; c < size; c += 2) {
                    other += widened(from + places[c]) * double(kernel[c]);
                    sum += widened(from + places[c + 1]) * double(kernel[c + 1]);
                }
            }
        }
        sum += other;
        const size_t at = (size_t(atom) * PIXELS + pixel) * LANES + lane;
        if (k > 0) sum += widened(state(k - 1, row, chunk) + at) * stage.newest;
        if (k > 1 && stage.older != 0) sum += widened(state(k - 2, row, chunk) + at) * stage.older;
        *reinterpret_cast<Part*>(to) = __builtin_convertvector(sum, Part);
    }

    void multiply_codes(const FnetStage& stage, int group, Scratch<T>& scratch) const {
        const int count = padded_outputs(stage), groups = block.atoms / GROUP;
        for (int point = 0; point < ALL; point++) {
            const T* kernels = static_cast<const T*>(stage.synthesis) +
                               (size_t(point) * groups + group) * count * GROUP;
            const T* values = scratch.codes.get() + size_t(point) * GROUP_SIZE<T>;
            T* to = scratch.sums.get() + size_t(point) * count * LANES;
            for (int first = 0; first < count; first += MAPS_AT_ONCE, to += MAPS_AT_ONCE * LANES) {
                V<T> sum[MAPS_AT_ONCE][REGISTERS<T>];
                for (int i = 0; i < MAPS_AT_ONCE; i++)
                    for (int n = 0; n < REGISTERS<T>; n++)
                        sum[i][n] = load(to + i * LANES + n * WIDE<T>);
                for (int a = 0; a < GROUP; a++) {
                    V<T> value[REGISTERS<T>];
                    for (int n = 0; n < REGISTERS<T>; n++) {
                        value[n] = load(values + a * LANES + n * WIDE<T>);
                        FNET_KEEP(value[n]);
                    }
                    for (int i = 0; i < MAPS_AT_ONCE; i++)
                        for (int n = 0; n < REGISTERS<T>; n++) sum[i][n] += value[n] * kernels[i];
                    kernels += MAPS_AT_ONCE;
                }
                for (int i = 0; i < MAPS_AT_ONCE; i++)
                    for (int n = 0; n < REGISTERS<T>; n++)
                        store(to + i * LANES + n * WIDE<T>, sum[i][n]);
            }
        }
    }

    void from_points(const FnetStage& stage, Scratch<T>& scratch, T* slot) const {
        constexpr int N = REGISTERS<T>;
        const int span = shape.span, wide = shape.slot_wide(), count = padded_outputs(stage);
        std::memset(slot, 0, sizeof(T) * slot_size(stage));
        V<T>* patch = reinterpret_cast<V<T>*>(scratch.patch.get());
        V<T>* columns = reinterpret_cast<V<T>*>(scratch.columns.get());
        const V<T>* sums = reinterpret_cast<const V<T>*>(scratch.sums.get());
        for (int o = 0; o < stage.outputs; o++, slot += size_t(span) * STEP * wide) {
            std::memset(patch, 0, sizeof(T) * span * span * LANES);
            for (int piece = 0; piece < shape.pieces; piece++) {
                std::memset(columns, 0, sizeof(T) * POINTS * span * LANES);
                for (int j = 0; j < shape.pieces; j++) {
                    const int index = (o * shape.pieces + piece) * shape.pieces + j;
                    for (int a = 0; a < POINTS; a++)
                        for (int n = 0; n < N; n++) {
                            V<T> c[POINTS];
                            interpolate<T>(sums + (size_t(a) * POINTS * count + index) * N + n,
                                           count * N, c, 1);
                            for (int b = 0; b < POINTS; b++)
                                columns[(a * span + j * TAPS + b) * N + n] += c[b];
                        }
                }
                for (int s = 0; s < span; s++)
                    for (int n = 0; n < N; n++) {
                        V<T> c[POINTS];
                        interpolate<T>(columns + s * N + n, span * N, c, 1);
                        for (int a = 0; a < POINTS; a++)
                            patch[((piece * TAPS + a) * span + s) * N + n] += c[a];
                    }
            }
            for (int r = 0; r < span; r++)
                for (int s = 0; s < span; s++)
                    for (int n = 0; n < N; n++) {
                        T* to =
                            slot + (size_t(r) * STEP + s % STEP) * wide + s / STEP + n * WIDE<T>;
                        store(to, load(to) + patch[(r * span + s) * N + n]);
                    }
        }
    }

    // The largest of the codes in each tile, its sign dropped.
    void note_peaks(int k, int row, int chunk) {
        const T* from = state(k, row, chunk);
        T* to = peaks[k].get() + (size_t(row) * shape.chunks + chunk) * LANES;
        for (int n = 0; n < LANES; n += WIDE<T>) {
            V<T> peak = {};
            for (int i = 0; i < block.atoms * PIXELS; i++)
                peak = larger<T>(peak, magnitude<T>(load(from + size_t(i) * LANES + n)));
            store(to + n, peak);
        }
    }

    // Of the tiles whose patches hold a pixel of a map (its row and column counted with margins).
    T peak_around(int k, int row, int column) const {
        const auto first = [&](int at) {
            return at < shape.seen ? 0 : (at - shape.seen) / STEP + 1;
        };
        const int wide = shape.chunks * LANES;
        T peak = 0;
        for (int r = first(row); r <= std::min(row / STEP, shape.tile_rows - 1); r++)
            for (int c = first(column); c <= std::min(column / STEP, wide - 1); c++)
                peak = std::max(peak, peaks[k][size_t(r) * wide + c]);
        return peak;
    }

    // Set what is no pixel of the image to 0 in one finished row, and mend values near 0.
    void finish(int k, int o, int row) {
        T* values = map(k, o) + row * shape.row_size();
        const int r = row - shape.pad;
        if (r < 0 || r >= shape.height) {
            std::memset(values, 0, sizeof(T) * shape.row_size());
            return;
        }
        for (int c = 0; c < shape.pad; c++) values[shape.column(c)] = 0;
        for (int c = shape.pad + shape.width; c < shape.wide * STEP; c++)
            values[shape.column(c)] = 0;
        if (is_dark) {
            const int reach = 2 * shape.pad * (k + 1), safe = 2 * shape.pad * k;
            const T tiny = TINY<T> * static_cast<const T*>(block.stage[k].synthesis_norms)[o];
            const uint16_t* far = distance.get() + size_t(r) * shape.width;
            for (int c = 0; c < shape.width; c++) {
                if (far[c] <= safe) continue;
                T& value = values[shape.column(c + shape.pad)];
                if (far[c] > reach)
                    value = 0;
                else if (std::abs(value) < tiny * peak_around(k, row, c + shape.pad))
                    value = synthesise_exactly(k, o, r, c);
            }
        }
        if (k + 1 == block.stages) {
            T* to = output + (size_t(o) * shape.height + r) * shape.width;
            for (int c = 0; c < shape.width; c++) to[c] = values[shape.column(c + shape.pad)];
        }
    }

    T synthesise_exactly(int k, int o, int row, int column) const {
        const int size = block.kernel_size;
        double sum = 0;
        for (int i = 0; i < size; i++) {
            const int r = row + i - shape.pad;
            if (r < 0 || r >= shape.height) continue;
            for (int j = 0; j < size; j++) {
                const int c = column + j - shape.pad;
                if (c < 0 || c >= shape.width) continue;
                const int tile = c / STEP, pixel = r % STEP * STEP + c % STEP;
                const T* code = state(k, r / STEP, tile / LANES) + pixel * LANES + tile % LANES;
                const T* kernel = static_cast<const T*>(block.stage[k].synthesis_direct) +
                                  (size_t(o) * block.atoms * size + i) * size + j;
                for (int m = 0; m < block.atoms; m++)
                    sum += double(code[size_t(m) * PIXELS * LANES]) *
                           double(kernel[size_t(m) * size * size]);
            }
        }
        return T(sum);
    }

    void write_codes(int row, int chunk) const {
        const T* from = state(block.stages - 1, row, chunk);
        for (int m = 0; m < block.real_atoms; m++, from += PIXELS * LANES)
            for (int pixel = 0; pixel < PIXELS; pixel++) {
                const int r = row * STEP + pixel / STEP;
                if (r >= shape.height) continue;
                T* to = dense_codes + (size_t(m) * shape.height + r) * shape.width;
                for (int lane = 0; lane < LANES; lane++) {
                    const int c = (chunk * LANES + lane) * STEP + pixel % STEP;
                    if (c < shape.width) to[c] = from[pixel * LANES + lane];
                }
            }
    }
};

// --- all blocks, all threads ---------------------------------------------------------------------

// Values too small for a normal number cost hundreds of cycles each and matter to nobody here.
class NoDenormals {
   public:
#if defined(__SSE2__)
    NoDenormals() : before(_mm_getcsr()) { _mm_setcsr(before | 0x8040); }
    ~NoDenormals() { _mm_setcsr(before); }

   private:
    unsigned before;
#endif
};

template <class T>
class Team {
   public:
    Team(const FnetStream* given, int count, int height, int width, int threads,
         const volatile int32_t* cancel)
        : scratch(threads), cancel(cancel) {
        for (int i = 0; i < count; i++) {
            streams.push_back(std::make_unique<Stream<T>>(given[i], height, width));
            steps = std::max(steps, streams[i]->steps());
            stages = std::max(stages, streams[i]->stages());
        }
        for (auto& one : scratch)
            for (auto& stream : streams) stream->prepare(one);
        chunks = streams[0]->get_shape().chunks;
    }

    // Return 0, or 2 where `cancel` was set meanwhile.
    int run() {
        std::vector<std::thread> others;
        others.reserve(scratch.size());
        Meeting meeting(ptrdiff_t(scratch.size()), Turn{this});
        try {
            while (others.size() + 1 < scratch.size())
                others.emplace_back([&, own = others.size() + 1] { work(scratch[own], meeting); });
        } catch (const std::exception&) {  // no thread or no memory: fewer do the same
        }
        for (size_t i = others.size() + 1; i < scratch.size(); i++) meeting.arrive_and_drop();
        work(scratch[0], meeting);
        for (auto& other : others) other.join();
        return is_cancelled ? 2 : 0;
    }

   private:
    struct Turn {
        Team* team;
        void operator()() noexcept {
            team->next = 0;
            if (team->cancel && *team->cancel) team->is_cancelled = true;
        }
    };
    using Meeting = std::barrier<Turn>;

    std::vector<std::unique_ptr<Stream<T>>> streams;
    std::vector<Scratch<T>> scratch;
    const volatile int32_t* cancel;
    std::atomic<int> next{0};
    std::atomic<bool> is_cancelled{false};
    int steps = 0, stages = 0, chunks = 0;

    // The row of tiles that iteration k does in this step, or none.
    bool turn(int stream, int k, int step, int& row) const {
        const Stream<T>& one = *streams[stream];
        row = step - one.get_shape().lag * k;
        return k < one.stages() && row >= 0 && row < one.get_shape().tile_rows;
    }

    void work(Scratch<T>& own, Meeting& meeting) {
        const NoDenormals quick;
        const int pairs = int(streams.size()) * stages;
        for (int step = 0; step < steps && !is_cancelled; step++) {
            int row;
            for (int job; (job = next++) < pairs * chunks;) {
                const int stream = job / chunks / stages, k = job / chunks % stages;
                if (turn(stream, k, step, row)) streams[stream]->encode(k, row, job % chunks, own);
            }
            meeting.arrive_and_wait();
            for (int job; (job = next++) < pairs;)
                if (turn(job / stages, job % stages, step, row))
                    streams[job / stages]->assemble(job % stages, row);
            meeting.arrive_and_wait();
        }
    }
};

template <class T>
int run(const FnetStream* streams, int count, int height, int width, int threads,
        const volatile int32_t* cancel) {
    try {
        return Team<T>(streams, count, height, width, threads, cancel).run();
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

// Run blocks over images of one size: 0 done, 1 out of memory, 2 cancelled.
extern "C" int fnet_float(const FnetStream* streams, int32_t count, int32_t height, int32_t width,
                          int32_t threads, const volatile int32_t* cancel) {
    return run<float>(streams, count, height, width, threads, cancel);
}

extern "C" int fnet_double(const FnetStream* streams, int32_t count, int32_t height, int32_t width,
                           int32_t threads, const volatile int32_t* cancel) {
    return run<double>(streams, count, height, width, threads, cancel);
}

// What the kernels must be packed for: lanes, atoms of a group, maps multiplied at once.
extern "C" void fnet_layout(int32_t* numbers) {
    numbers[0] = LANES;
    numbers[1] = GROUP;
    numbers[2] = MAPS_AT_ONCE;
}
