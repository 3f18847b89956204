# The part of cnn.h that the module uses, word for word.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "stdbool.h":
    ctypedef bint c_bool "bool"


cdef extern from "cnn.h" nogil:
    enum:
        CNN_ABI_VERSION
        CNN_ALIGNMENT
        CNN_PANEL
        CNN_MAX_OPERANDS
        CNN_MAX_EXTERNALS
        CNN_MAX_THREADS
        CNN_MAX_POOL_AREA
        CNN_MAY_STOP
        CNN_READ
        CNN_WRITTEN
        CNN_OPTIONAL
        CNN_IN_PLACE
        CNN_SPACE_COUNT

    ctypedef enum cnn_status:
        CNN_OK
        CNN_OUT_OF_MEMORY
        CNN_BAD_PROGRAM
        CNN_BAD_BATCH
        CNN_BAD_THREADS
        CNN_BAD_ISA
        CNN_NONFINITE_INPUT
        CNN_LABEL_OUT_OF_RANGE
        CNN_NONFINITE_LOSS
        CNN_NONFINITE_GRADIENT
        CNN_NONFINITE_OUTPUT
        CNN_BAD_WARP
        CNN_PART_DONE

    const char *cnn_status_message(cnn_status status)

    ctypedef struct cnn_segment:
        int64_t offset, count
        float l2
        float weight_decay
        float lr_scale
        float reserved

    const char *cnn_activation_name(int activation)

    ctypedef union cnn_geometry:
        pass

    ctypedef enum cnn_geometry_kind:
        CNN_GEOMETRY_COUNT

    ctypedef struct cnn_geometry_field:
        const char *name
        size_t offset
        c_bool real
        double least, most

    ctypedef struct cnn_geometry_info:
        const char *name
        const cnn_geometry_field *fields
        int field_count

    const cnn_geometry_info *cnn_geometry_find(int kind)

    ctypedef struct cnn_run:
        ptrdiff_t batch
        uint64_t seed, step
        double learning_rate
        double average
        ptrdiff_t first_sample
        double share
        c_bool more
        ptrdiff_t from_ "from"
        ptrdiff_t until
        void *externals[CNN_MAX_EXTERNALS]
        double *seconds
        double *waited
        ptrdiff_t waited_workers
        c_bool check_outputs
        double loss
        double gradient_norm
        ptrdiff_t detail
        double elapsed
        int workers

    ctypedef struct cnn_workspace:
        size_t shared
        size_t scratch

    ctypedef cnn_workspace cnn_workspace_function(const cnn_geometry *geometry, ptrdiff_t batch)

    ctypedef enum cnn_operand_type:
        CNN_F32
        CNN_U8
        CNN_I64
        CNN_SEGMENTS
        CNN_I8
        CNN_I16
        CNN_I32

    ctypedef enum cnn_extent:
        CNN_WEIGHTS

    ctypedef struct cnn_operand_info:
        const char *name
        cnn_operand_type type
        int use
        cnn_extent extent

    ctypedef struct cnn_op_info:
        const char *name
        cnn_geometry_kind geometry
        int flags
        const cnn_operand_info *operands
        int operand_count
        cnn_workspace_function *workspace

    const cnn_op_info *cnn_op_find(int op)
    bint cnn_geometry_fits(const cnn_op_info *info, const cnn_geometry *geometry)
    bint cnn_batch_fits(const cnn_op_info *info, const cnn_geometry *geometry, ptrdiff_t batch)
    int64_t cnn_operand_bytes(const cnn_op_info *info, int operand, const cnn_geometry *geometry, ptrdiff_t batch)
    cnn_status cnn_op_run(int op, const cnn_geometry *geometry, void *const *operands, cnn_run *run, int threads,
                          c_bool reference)

    cnn_status cnn_int8_pack(int op, const cnn_geometry *geometry, const int8_t *weights, const int32_t *bias,
                             void *panels, int32_t *corrected)

    ctypedef enum cnn_variant:
        CNN_VARIANT_USUAL
        CNN_VARIANT_LANES
        CNN_VARIANT_SPARSE
        CNN_VARIANT_PICK
        CNN_VARIANT_FEW_ROWS
        CNN_VARIANT_DEPTHWISE

    ctypedef struct cnn_blocking:
        cnn_variant variant
        ptrdiff_t lane_channels, lane_vectors, tiles, tile_block, ic_blocks, oc_blocks, oc_block, filter_columns

    cnn_blocking cnn_op_blocking(int op, const cnn_geometry *geometry, ptrdiff_t batch)

    ctypedef struct cnn_register_tile:
        int rows, columns, width

    const cnn_register_tile *cnn_register_tile_of(const char *isa)

    ctypedef enum cnn_space:
        CNN_SPACE_NONE
        CNN_SPACE_ARENA
        CNN_SPACE_PARAMETERS
        CNN_SPACE_GRADIENTS
        CNN_SPACE_BUFFERS
        CNN_SPACE_STATES
        CNN_SPACE_CONSTANTS
        CNN_SPACE_EXTERNAL

    ctypedef struct cnn_operand:
        cnn_space space
        int64_t offset, bytes

    ctypedef struct cnn_instruction:
        int op
        int operands[CNN_MAX_OPERANDS]
        cnn_geometry geometry
        c_bool alone
        ptrdiff_t first, samples

    ptrdiff_t cnn_instruction_batch(const cnn_instruction *instruction, ptrdiff_t batch)

    ctypedef struct cnn_program_description:
        const cnn_instruction *instructions
        ptrdiff_t instruction_count
        const cnn_operand *operands
        ptrdiff_t operand_count
        ptrdiff_t max_batch
        c_bool brief
        int most_workers
        void *spaces[CNN_SPACE_COUNT]
        int64_t space_bytes[CNN_SPACE_COUNT]

    ctypedef struct cnn_program:
        pass

    cnn_status cnn_program_create(const cnn_program_description *description, cnn_program **program,
                                  ptrdiff_t *detail)
    void cnn_program_destroy(cnn_program *program)
    cnn_status cnn_program_run(cnn_program *program, cnn_run *run)
    void *cnn_program_arena(cnn_program *program)
    int64_t cnn_program_workspace_bytes(const cnn_program *program)

    ctypedef enum cnn_fill:
        CNN_FILL_CONSTANT
        CNN_FILL_NEAREST
        CNN_FILL_REFLECT
        CNN_FILL_WRAP
        CNN_FILL_MIRROR

    ctypedef struct cnn_image_batch:
        const uint8_t *images
        const int64_t *indices
        ptrdiff_t n, c, h, w
        const float *scale
        const float *offset
        c_bool per_sample
        const int32_t *shifts
        cnn_fill fill
        uint8_t fill_value
        const uint8_t *flips
        const uint8_t *turns
        const int32_t *boxes
        const uint8_t *paints
        ptrdiff_t box_count

    cnn_status cnn_gather_images(float *dst, const cnn_image_batch *batch, int threads)
    void cnn_ref_gather_images(float *dst, const cnn_image_batch *batch)

    const int64_t CNN_WARP_ONE

    ctypedef struct cnn_image_warp:
        const uint8_t *images
        const int64_t *indices
        ptrdiff_t n, c, h, w
        const int64_t *coefficients
        cnn_fill fill
        uint8_t fill_value

    cnn_status cnn_warp_images(uint8_t *dst, const cnn_image_warp *warp, int threads)
    void cnn_ref_warp_images(uint8_t *dst, const cnn_image_warp *warp)

    int CNN_COLOUR_ONE
    int CNN_COLOUR_LARGEST

    ctypedef struct cnn_image_colours:
        const uint8_t *images
        const int64_t *indices
        ptrdiff_t n, c, h, w
        const int32_t *factors

    cnn_status cnn_recolour_images(uint8_t *dst, const cnn_image_colours *colours, int threads)
    void cnn_ref_recolour_images(uint8_t *dst, const cnn_image_colours *colours)

    cnn_status cnn_set_threads(int threads)
    int cnn_get_threads()
    const char *cnn_requested_threads()
    int cnn_usable_cpus()
    int cnn_measure_team()
    c_bool cnn_has_openmp()
    cnn_status cnn_set_isa(const char *name)
    const char *cnn_get_isa()
    const char *cnn_available_isa(int index)
    const char *cnn_requested_isa()
    void cnn_set_vnni(c_bool wanted)
    c_bool cnn_uses_vnni()
    void cnn_philox4x32(const uint32_t *counter, const uint32_t *key, uint32_t *draws)
    cnn_status cnn_sgemm(c_bool transpose_a, c_bool transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, float alpha,
                         const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float beta, float *c,
                         ptrdiff_t ldc)
    void cnn_ref_sgemm(c_bool transpose_a, c_bool transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, float alpha,
                       const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float beta, float *c,
                       ptrdiff_t ldc)
    double cnn_fma_burst(int64_t rounds)
    double cnn_read_burst(const float *src, ptrdiff_t count, int64_t rounds)
