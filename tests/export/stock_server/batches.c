/* Tasks that wait, how they are joined, and the threads that run them. */
#include <pthread.h>
#include <time.h>

#include "server.h"

enum { MAX_TASKS = 256, MAX_ALLOWED = 16, MAX_OUTPUTS = 64 };

/* One thread at a time chooses the next batch; the others run theirs. */
static pthread_mutex_t choosing = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t added;
static Task* first_task;
static Task** end_of_tasks = &first_task;
static struct {
  int64_t max_rows, wait_micros; /* no rows: each request runs alone */
  int num_allowed;
  int64_t allowed[MAX_ALLOWED];
} settings;

int64_t now_micros(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

void set_batching(int64_t max_rows, int64_t wait_micros, int num_allowed,
                  const int64_t* allowed) {
  pthread_mutex_lock(&lock);
  settings.max_rows = max_rows;
  settings.wait_micros = wait_micros;
  settings.num_allowed = num_allowed < MAX_ALLOWED ? num_allowed : MAX_ALLOWED;
  memcpy(settings.allowed, allowed, settings.num_allowed * sizeof *allowed);
  pthread_mutex_unlock(&lock);
}

void delete_task(Task* task) {
  for (int i = 0; i < task->signature->num_inputs; ++i) {
    if (task->inputs[i]) delete_tensor(task->inputs[i]);
  }
  free(task->inputs);
  leave_version(task->version);
  free(task);
}

static void refuse(Task* task, TF_Code code, const char* message) {
  reply(task->id, code, message);
  delete_task(task);
}

/* The number of rows that all inputs have, or -1. */
static int64_t common_rows(const Task* task) {
  int64_t rows = -1;
  for (int i = 0; i < task->signature->num_inputs; ++i) {
    TF_Tensor* input = task->inputs[i];
    if (TF_NumDims(input) == 0) return -1;
    if (i && TF_Dim(input, 0) != rows) return -1;
    rows = TF_Dim(input, 0);
  }
  return rows;
}

void add_task(Task* task) {
  task->rows = common_rows(task);
  pthread_mutex_lock(&lock);
  int64_t most = settings.max_rows;
  int fits = !most || (task->rows >= 0 && task->rows <= most);
  if (fits) {
    *end_of_tasks = task;
    end_of_tasks = &task->next;
    pthread_cond_broadcast(&added);
  }
  pthread_mutex_unlock(&lock);
  if (!fits) {
    refuse(task, TF_INVALID_ARGUMENT,
           task->rows < 0 ? "The inputs differ in their number of rows."
                          : "More rows than a batch may have.");
  }
}

/* Takes what may join `tasks[0]`; returns whether the batch is full. */
static int take_more(Task** tasks, int* count, int64_t* rows) {
  Task** place = &first_task;
  while (*place && *count < MAX_TASKS) {
    Task* task = *place;
    int alike = task->version == tasks[0]->version &&
                task->signature == tasks[0]->signature && task->rows;
    if (alike && *rows + task->rows > settings.max_rows) return 1;
    if (alike) {
      tasks[(*count)++] = task;
      *rows += task->rows;
      *place = task->next;
      if (*place == NULL) end_of_tasks = place;
    } else {
      place = &task->next;
    }
  }
  return *rows >= settings.max_rows || *count == MAX_TASKS;
}

static int choose(Task** tasks, int64_t* rows, int64_t* padding) {
  pthread_mutex_lock(&choosing);
  pthread_mutex_lock(&lock);
  while (first_task == NULL) pthread_cond_wait(&added, &lock);
  int count = 1;
  tasks[0] = first_task;
  first_task = first_task->next;
  if (first_task == NULL) end_of_tasks = &first_task;
  *rows = tasks[0]->rows;
  *padding = 0;
  if (settings.max_rows && *rows) {
    int64_t end = tasks[0]->arrived + settings.wait_micros;
    struct timespec until = {end / 1000000, end % 1000000 * 1000};
    while (!take_more(tasks, &count, rows) && now_micros() < end) {
      pthread_cond_timedwait(&added, &lock, &until);
    }
    for (int i = settings.num_allowed - 1; i >= 0; --i) {
      if (settings.allowed[i] >= *rows) *padding = settings.allowed[i] - *rows;
    }
  }
  pthread_mutex_unlock(&lock);
  pthread_mutex_unlock(&choosing);
  return count;
}

/* The longest time that is left to any of them: 0 = for ever, -1 = none. */
static int64_t time_left(Task** tasks, int count) {
  int64_t left = -1;
  for (int i = 0; i < count; ++i) {
    if (tasks[i]->timeout == 0) return 0;
    int64_t waited = (now_micros() - tasks[i]->arrived) / 1000;
    if (tasks[i]->timeout - waited > left) left = tasks[i]->timeout - waited;
  }
  return left > 0 ? left : -1;
}

/* RunOptions{timeout_in_ms}: field 2, seven bits a byte. */
static TF_Buffer* run_options(int64_t timeout) {
  unsigned char bytes[12] = {2 << 3};
  int size = 1;
  for (; timeout > 0x7f; timeout >>= 7) bytes[size++] = timeout | 0x80;
  bytes[size++] = timeout;
  return TF_NewBufferFromString(bytes, size);
}

static void run_session(Task** tasks, TF_Tensor** inputs, int64_t timeout,
                        TF_Tensor** outputs, TF_Status* status) {
  const Signature* signature = tasks[0]->signature;
  TF_Output from[MAX_OUTPUTS], to[MAX_OUTPUTS];
  for (int i = 0; i < signature->num_inputs; ++i) {
    from[i] = signature->inputs[i].place;
  }
  for (int i = 0; i < signature->num_outputs; ++i) {
    to[i] = signature->outputs[i].place;
  }
  TF_Buffer* options = timeout ? run_options(timeout) : NULL;
  TF_SessionRun(tasks[0]->version->session, options, from, inputs,
                signature->num_inputs, to, outputs, signature->num_outputs,
                NULL, 0, NULL, status);
  if (options) TF_DeleteBuffer(options);
}

/* Joins the inputs of all tasks; of one that needs no rows, as they are. */
static int join_inputs(Task** tasks, int count, int64_t padding,
                       TF_Tensor** inputs) {
  for (int i = 0; i < tasks[0]->signature->num_inputs; ++i) {
    TF_Tensor* parts[MAX_TASKS];
    for (int j = 0; j < count; ++j) {
      parts[j] = tasks[j]->inputs[i];
      if (!same_but_rows(parts[j], parts[0])) return 0;
    }
    inputs[i] = count == 1 && !padding ? NULL : joined(parts, count, padding);
  }
  return 1;
}

static void answer(Task** tasks, int count, int64_t rows, int64_t padding,
                   TF_Tensor** outputs, TF_Status* status) {
  const Signature* signature = tasks[0]->signature;
  int is_batch = count > 1 || padding;
  for (int i = 0; i < signature->num_outputs; ++i) {
    if (TF_GetCode(status) == TF_OK && is_batch &&
        (TF_NumDims(outputs[i]) == 0 ||
         TF_Dim(outputs[i], 0) != rows + padding)) {
      TF_SetStatus(status, TF_FAILED_PRECONDITION,
                   "An output has not the rows of its inputs.");
    }
  }
  int is_good = TF_GetCode(status) == TF_OK;
  int64_t first = 0;
  for (int j = 0; j < count; ++j) {
    begin_reply(tasks[j]->id, TF_GetCode(status), TF_Message(status),
                rows + padding, is_good ? signature->num_outputs : 0);
    for (int i = 0; is_good && i < signature->num_outputs; ++i) {
      int whole = !is_batch && TF_NumDims(outputs[i]);
      write_output(signature->outputs[i].name, outputs[i], first,
                   whole ? TF_Dim(outputs[i], 0) : tasks[j]->rows);
    }
    end_reply();
    first += tasks[j]->rows;
  }
}

static void run(Task** tasks, int count, int64_t rows, int64_t padding) {
  TF_Tensor *made[MAX_OUTPUTS] = {NULL}, *outputs[MAX_OUTPUTS] = {NULL};
  TF_Tensor* inputs[MAX_OUTPUTS];
  TF_Status* status = TF_NewStatus();
  int64_t timeout = time_left(tasks, count);
  int fit = join_inputs(tasks, count, padding, made);
  if (timeout < 0) {
    TF_SetStatus(status, TF_DEADLINE_EXCEEDED, "It waited for too long.");
  } else if (!fit) {
    TF_SetStatus(status, TF_FAILED_PRECONDITION,
                 "Requests differ in the type or the sizes of an input.");
  } else {
    for (int i = 0; i < tasks[0]->signature->num_inputs; ++i) {
      inputs[i] = made[i] ? made[i] : tasks[0]->inputs[i];
    }
    run_session(tasks, inputs, timeout, outputs, status);
  }
  answer(tasks, count, rows, padding, outputs, status);
  for (int i = 0; i < MAX_OUTPUTS; ++i) {
    if (outputs[i]) TF_DeleteTensor(outputs[i]);
    if (made[i]) delete_tensor(made[i]);
  }
  for (int j = 0; j < count; ++j) delete_task(tasks[j]);
  TF_DeleteStatus(status);
}

static void* work(void* unused) {
  for (;;) {
    Task* tasks[MAX_TASKS];
    int64_t rows, padding;
    int count = choose(tasks, &rows, &padding);
    run(tasks, count, rows, padding);
  }
  return unused;
}

void start_threads(int count) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&added, &monotonic);
  for (int i = 0; i < count; ++i) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    pthread_detach(thread);
  }
}
