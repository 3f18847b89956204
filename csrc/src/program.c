/* The program executor: checks a description once, then runs all of its instructions in one parallel region. */
#include <limits.h>
#include <stdlib.h>

#include "internal.h"
#include "pace.h"
#include "team.h"

struct cnn_program {
    cnn_instruction *instructions;
    cnn_operand *operands;
    unsigned *cold; /* of every instruction */
    ptrdiff_t instruction_count, max_batch;
    bool all_alone;     /* every instruction is one worker's */
    unsigned externals; /* bit i: external i is used */
    bool brief;
    int most_workers;
    double end; /* when the last run ended */
    void *spaces[CNN_SPACE_COUNT];
    cnn_workspace workspace; /* largest need of any instruction */
    void *shared, *scratch;
    int scratch_workers;
    cnn_team team;
    cnn_pace pace;
};

/* ---- creation -------------------------------------------------------------------------------------------------- */

/* The most that any instruction needs at the largest batch. */
static cnn_workspace workspace_of(const cnn_program *program)
{
    cnn_workspace most = {0, 0};
    for (ptrdiff_t i = 0; i < program->instruction_count; i++) {
        const cnn_instruction *instruction = &program->instructions[i];
        const cnn_workspace need =
            cnn_op_find(instruction->op)
                ->workspace(&instruction->geometry, cnn_instruction_batch(instruction, program->max_batch));
        if (need.shared > most.shared) most.shared = need.shared;
        if (need.scratch > most.scratch) most.scratch = need.scratch;
    }
    most.scratch = cnn_align(most.scratch);
    return most;
}

static bool are_all_alone(const cnn_program *program)
{
    for (ptrdiff_t i = 0; i < program->instruction_count; i++)
        if (!program->instructions[i].alone) return false;
    return true;
}

static unsigned used_externals(const cnn_program *program)
{
    unsigned used = 0;
    for (ptrdiff_t i = 0; i < program->instruction_count; i++)
        for (int j = 0; j < CNN_MAX_OPERANDS; j++) {
            const int index = program->instructions[i].operands[j];
            if (index >= 0 && program->operands[index].space == CNN_SPACE_EXTERNAL)
                used |= 1u << program->operands[index].offset;
        }
    return used;
}

/* Whether the caller gives all that is used. */
static bool externals_are_given(const cnn_program *program, const cnn_run *run)
{
    for (int i = 0; i < CNN_MAX_EXTERNALS; i++)
        if (program->externals >> i & 1 && !run->externals[i]) return false;
    return true;
}

/* Copies what has been checked, and allocates; false: there is no memory. */
static bool build(cnn_program *program, const cnn_program_description *description)
{
    const size_t instruction_bytes = (size_t)description->instruction_count * sizeof(cnn_instruction);
    const size_t operand_bytes = (size_t)description->operand_count * sizeof(cnn_operand);
    program->instructions = cnn_allocate(instruction_bytes);
    program->operands = cnn_allocate(operand_bytes);
    program->cold = cnn_allocate((size_t)description->instruction_count * sizeof *program->cold);
    if (!program->instructions || !program->operands || !program->cold) return false;
    if (!cnn_find_cold(description, program->cold)) return false;
    if (instruction_bytes) memcpy(program->instructions, description->instructions, instruction_bytes);
    if (operand_bytes) memcpy(program->operands, description->operands, operand_bytes);
    program->instruction_count = description->instruction_count;
    program->max_batch = description->max_batch;
    program->brief = description->brief;
    program->most_workers = description->most_workers < 1 ? INT_MAX : description->most_workers;
    program->all_alone = are_all_alone(program);
    program->externals = used_externals(program);
    memcpy(program->spaces, description->spaces, sizeof program->spaces);
    program->spaces[CNN_SPACE_ARENA] = cnn_allocate((size_t)description->space_bytes[CNN_SPACE_ARENA]);
    program->workspace = workspace_of(program);
    program->shared = cnn_allocate(program->workspace.shared);
    return program->spaces[CNN_SPACE_ARENA] && program->shared;
}

cnn_status cnn_program_create(const cnn_program_description *description, cnn_program **result, ptrdiff_t *detail)
{
    *result = NULL;
    const cnn_status status = cnn_description_check(description, detail);
    if (status != CNN_OK) return status;
    cnn_program *program = cnn_allocate(sizeof *program);
    if (!program) return CNN_OUT_OF_MEMORY;
    cnn_team_init(&program->team);
    if (!build(program, description)) {
        cnn_program_destroy(program);
        return CNN_OUT_OF_MEMORY;
    }
    *result = program;
    return CNN_OK;
}

void cnn_program_destroy(cnn_program *program)
{
    if (!program) return;
    free(program->instructions);
    free(program->operands);
    free(program->cold);
    free(program->spaces[CNN_SPACE_ARENA]);
    free(program->shared);
    free(program->scratch);
    cnn_team_destroy(&program->team);
    free(program);
}

void *cnn_program_arena(cnn_program *program) { return program->spaces[CNN_SPACE_ARENA]; }

int64_t cnn_program_workspace_bytes(const cnn_program *program)
{
    return (int64_t)program->workspace.shared + (int64_t)program->workspace.scratch * program->scratch_workers;
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static void resolve(const cnn_program *program, const cnn_instruction *instruction, cnn_run *run, cnn_call *call)
{
    call->geometry = &instruction->geometry;
    call->batch = cnn_instruction_batch(instruction, run->batch);
    call->first = instruction->samples ? instruction->first : 0;
    call->cold = program->cold[instruction - program->instructions];
    call->run = run;
    for (int i = 0; i < CNN_MAX_OPERANDS; i++) {
        const int index = instruction->operands[i];
        call->operands[i] = NULL;
        if (index < 0) continue;
        const cnn_operand *operand = &program->operands[index];
        call->operands[i] = operand->space == CNN_SPACE_EXTERNAL
                                ? run->externals[operand->offset]
                                : (char *)program->spaces[operand->space] + operand->offset;
    }
}

/* Whether the result of an instruction (its first operand, where that is written) is finite at the current batch, as far
 * as it is float32 and not the caller's: for the search for a culprit. */
static bool result_is_finite(const cnn_program *program, const cnn_instruction *instruction, const cnn_call *call)
{
    const cnn_operand_info *result = &cnn_op_find(instruction->op)->operands[0];
    if (!(result->use & CNN_WRITTEN) || result->type != CNN_F32 || !call->operands[0]) return true;
    const cnn_operand *operand = &program->operands[instruction->operands[0]];
    if (operand->space == CNN_SPACE_EXTERNAL) return true;
    int64_t bytes = operand->bytes;
    const ptrdiff_t most = cnn_instruction_batch(instruction, program->max_batch);
    if (operand->space == CNN_SPACE_ARENA && bytes % most == 0) bytes = bytes / most * call->batch;
    return cnn_find_nonfinite(call->operands[0], (ptrdiff_t)(bytes / (int64_t)sizeof(float))) < 0;
}

/* What the members of a team share while they run a program. */
typedef struct program_run {
    cnn_program *program;
    cnn_run *run;
    bool reference;
    cnn_status status;
    double start;                /* of the call */
    atomic_ptrdiff_t stopped_at; /* the instruction that stopped the program; behind the last while none did */
    double finished;             /* when the first worker had done its part of the last instruction */
} program_run;

static void stop(program_run *state, ptrdiff_t i, cnn_status status)
{
    state->status = status;
    atomic_store_explicit(&state->stopped_at, i, memory_order_release);
}

/* Whether an instruction before the next one stopped the program. (A faster worker may be in the next one already: if
 * it stops the program there, everybody has still to come and meet it.) */
static bool is_stopped(program_run *state, ptrdiff_t next)
{
    return atomic_load_explicit(&state->stopped_at, memory_order_acquire) < next;
}

static void run_instruction(program_run *state, ptrdiff_t i, const cnn_worker *worker)
{
    const cnn_instruction *instruction = &state->program->instructions[i];
    const cnn_op_info *info = cnn_op_find(instruction->op);
    cnn_status status = CNN_OK;
    cnn_call call;
    resolve(state->program, instruction, state->run, &call);
    if (call.batch < 1) return;
    call.status = &status;
    (state->reference ? info->reference : info->function)(&call, worker);
    if (status != CNN_OK) stop(state, i, status);
}

static void look_for_culprit(program_run *state, ptrdiff_t i)
{
    cnn_call call;
    const cnn_instruction *instruction = &state->program->instructions[i];
    resolve(state->program, instruction, state->run, &call);
    if (call.batch < 1 || is_stopped(state, i + 1) || result_is_finite(state->program, instruction, &call)) return;
    state->run->detail = i;
    stop(state, i, CNN_NONFINITE_OUTPUT);
}

/* The first worker's account of an instruction that everybody has finished: its time, and whether it is to blame. */
static void account(program_run *state, ptrdiff_t i, double *before)
{
    if (state->run->seconds) {
        const double now = cnn_now();
        state->run->seconds[i] += now - *before;
        *before = now;
    }
    if (state->run->check_outputs) look_for_culprit(state, i);
}

static ptrdiff_t end_of(const cnn_program *program, const cnn_run *run)
{
    return run->until ? run->until : program->instruction_count;
}

/* A worker's own account: adds `seconds` to what it waited in an instruction, or before the first. */
static void account_waiting(const program_run *state, ptrdiff_t row, const cnn_worker *worker, double seconds)
{
    const cnn_run *run = state->run;
    if (run->waited && worker->rank < run->waited_workers)
        run->waited[row * run->waited_workers + worker->rank] += seconds;
}

/* Everybody runs this. The team meets after each instruction, but once for a row of those that one worker runs, and
 * not at all after the last, where the team ends. */
static void run_instructions(program_run *state, const cnn_worker *member)
{
    const cnn_program *program = state->program;
    const bool first = cnn_is_first(member), watched = state->run->seconds || state->run->check_outputs;
    double waited = 0.0;
    cnn_worker own = *member, single = *member;
    const cnn_worker *const worker = &own;
    own.waited = state->run->seconds && state->run->waited ? &waited : NULL;
    single.size = 1;
    if (first) state->run->workers = worker->size;
    double before = state->run->seconds ? cnn_now() : 0.0;
    const ptrdiff_t end = end_of(program, state->run);
    for (ptrdiff_t i = state->run->from; i < end;) {
        const bool alone = program->instructions[i].alone;
        for (; alone && i < end && program->instructions[i].alone; i++) {
            if (!first || is_stopped(state, i)) continue;
            run_instruction(state, i, &single);
            account(state, i, &before);
        }
        if (!alone) run_instruction(state, i++, worker);
        if (i == end && !watched) return;
        cnn_barrier(worker);
        if (watched && !alone) {
            if (first) account(state, i - 1, &before);
            if (state->run->check_outputs) cnn_barrier(worker);
        }
        account_waiting(state, i - 1, worker, waited);
        waited = 0.0;
        if (is_stopped(state, i)) return;
    }
}

static void run_member(const cnn_worker *worker, void *context)
{
    program_run *state = context;
    if (state->run->waited) account_waiting(state, state->program->instruction_count, worker, cnn_now() - state->start);
    run_instructions(state, worker);
    if (cnn_is_first(worker) && worker->size > 1) state->finished = cnn_now();
}

/* Whether the first worker had to wait for others: at a meeting for so long that it slept, or at the end of the team,
 * where the parts of the last instruction differ by less. */
static bool was_disturbed(const program_run *state, unsigned given_up)
{
    const double usual = 500e-6; /* seconds */
    return atomic_load_explicit(&state->program->team.given_up, memory_order_relaxed) != given_up ||
           state->program->end - state->finished > usual;
}

static cnn_status reserve_scratch(cnn_program *program, int workers)
{
    if (workers <= program->scratch_workers) return CNN_OK;
    free(program->scratch);
    program->scratch_workers = 0;
    program->scratch = cnn_allocate(program->workspace.scratch * (size_t)workers);
    if (!program->scratch) return CNN_OUT_OF_MEMORY;
    program->scratch_workers = workers;
    return CNN_OK;
}

/* Whether the workers sleep since the last run. Those of GNU's runtime then take 40 us and more to wake, which a
 * brief program does not win back; runs in quick succession find them spinning. Who computes never changes a result. */
static bool team_sleeps(const cnn_program *program, double now)
{
    const double spinning = 60e-6; /* seconds, with the GOMP_SPINCOUNT that cnncore sets */
    return now - program->end > spinning;
}

static void clear_results(cnn_run *run)
{
    run->detail = -1;
    run->loss = run->gradient_norm = run->elapsed = 0.0;
}

cnn_status cnn_program_run(cnn_program *program, cnn_run *run)
{
    const double start = cnn_now();
    program_run state = {.program = program, .run = run, .status = CNN_OK, .start = start};
    atomic_init(&state.stopped_at, program->instruction_count);
    const cnn_kernels *kernels = cnn_kernels_current(&state.reference);
    clear_results(run);
    const int available = cnn_get_threads();
    if (!kernels) return CNN_BAD_ISA;
    if (available < 1) return CNN_BAD_THREADS;
    if (run->batch < 1 || run->batch > program->max_batch) return CNN_BAD_BATCH;
    if (!externals_are_given(program, run)) return CNN_BAD_PROGRAM;
    if (run->from < 0 || run->from > end_of(program, run) || run->until > program->instruction_count)
        return CNN_BAD_PROGRAM;
    const int most = program->all_alone ? 1 : program->most_workers, threads = available < most ? available : most;
    const cnn_status reserved = reserve_scratch(program, threads);
    if (reserved != CNN_OK) return reserved;
    const bool single = threads == 1 || (program->brief && team_sleeps(program, start));
    const int workers = single ? 1 : cnn_pace_workers(&program->pace, threads, start);
    const unsigned given_up = atomic_load_explicit(&program->team.given_up, memory_order_relaxed);
    cnn_team_run(&program->team, workers, kernels, program->shared, program->scratch, program->workspace.scratch,
                 run_member, &state);
    program->end = cnn_now();
    if (!single) cnn_pace_account(&program->pace, start, program->end, run->batch, was_disturbed(&state, given_up));
    run->elapsed = program->end - start;
    return state.status;
}

/* ---- single ops ------------------------------------------------------------------------------------------------ */

typedef struct op_run {
    cnn_op_function *function;
    cnn_call call;
} op_run;

static void run_op(const cnn_worker *worker, void *context)
{
    const op_run *state = context;
    state->function(&state->call, worker);
}

/* Whether exactly those operands are there that must, and the segments lie in the optimiser's elements. */
static bool are_given(const cnn_op_info *info, const cnn_geometry *geometry, void *const operands[CNN_MAX_OPERANDS],
                      ptrdiff_t batch)
{
    for (int i = 0; i < info->operand_count; i++) {
        const int64_t bytes = cnn_operand_bytes(info, i, geometry, batch);
        if (!cnn_presence_fits(info, i, bytes, operands[i] != NULL)) return false;
        if (info->operands[i].type == CNN_SEGMENTS && !cnn_segments_fit(operands[i], &geometry->optimizer))
            return false;
    }
    return true;
}

cnn_status cnn_op_run(int op, const cnn_geometry *geometry, void *const operands[CNN_MAX_OPERANDS], cnn_run *run,
                      int threads, bool reference)
{
    const cnn_op_info *info = cnn_op_find(op);
    bool isa_reference = false;
    const cnn_kernels *kernels = cnn_kernels_current(&isa_reference);
    clear_results(run);
    if (run->batch < 1) return CNN_BAD_BATCH;
    if (!info || !cnn_batch_fits(info, geometry, run->batch) || !are_given(info, geometry, operands, run->batch))
        return CNN_BAD_PROGRAM;
    if (!kernels) return CNN_BAD_ISA;
    if (threads < 1 || threads > CNN_MAX_THREADS) return CNN_BAD_THREADS;
    const cnn_workspace need = info->workspace(geometry, run->batch);
    const size_t scratch_bytes = cnn_align(need.scratch);
    void *shared = cnn_allocate(need.shared), *scratch = cnn_allocate(scratch_bytes * (size_t)threads);
    cnn_status status = shared && scratch ? CNN_OK : CNN_OUT_OF_MEMORY;
    if (status == CNN_OK) {
        op_run state = {reference || isa_reference ? info->reference : info->function,
                        {.geometry = geometry, .batch = run->batch, .cold = ~0u, .run = run, .status = &status}};
        memcpy(state.call.operands, operands, sizeof state.call.operands);
        cnn_team team;
        cnn_team_init(&team);
        const double start = cnn_now();
        cnn_team_run(&team, threads, kernels, shared, scratch, scratch_bytes, run_op, &state);
        run->elapsed = cnn_now() - start;
        cnn_team_destroy(&team);
    }
    free(shared);
    free(scratch);
    return status;
}
