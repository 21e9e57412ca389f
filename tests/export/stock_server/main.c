/* Reads commands from stdin and answers them on stdout, in any order:

     load    version, folder, its signatures
     serve   version              requests that name no version go to it
     unload  version              once the requests that use it are answered
     batch   most rows, microseconds to wait, sizes that are allowed
     run     version, signature, milliseconds allowed, inputs by name
     memory  the bytes in use, in place of the rows of a batch

   Each begins with a number, which its reply repeats. */
#include <malloc.h>
#include <pthread.h>

#include "server.h"

/* tensorflow::DisableXlaCompilation(), which the server calls when it starts
   without --xla_cpu_compilation_enabled. */
extern void disable_xla_compilation(void) __asm__(
    "_ZN10tensorflow21DisableXlaCompilationEv");

enum { THREADS = 4, MAX_SIZES = 16 };

typedef struct {
  int64_t id;
  Version* version; /* to load; NULL: to unload what `text` names */
  char* text;
} Change;

static void* change(void* argument) {
  Change* asked = argument;
  if (asked->version) {
    load(asked->id, asked->version, asked->text);
  } else {
    unload(asked->id, asked->text);
  }
  free(asked);
  return NULL;
}

/* Loading and unloading take time, in which requests are answered. */
static void change_beside(int64_t id, Version* version, char* text) {
  Change* asked = malloc(sizeof(Change));
  *asked = (Change){id, version, text};
  pthread_t thread;
  pthread_create(&thread, NULL, change, asked);
  pthread_detach(thread);
}

static void read_batching(int64_t id) {
  int64_t most = read_number(), wait = read_number(), sizes[MAX_SIZES];
  int count = read_number();
  for (int i = 0; i < count; ++i) sizes[i] = read_number();
  set_batching(most, wait, count, sizes);
  reply(id, TF_OK, "");
}

/* Puts an input where the signature has it; returns whether it has it. */
static int place_input(Task* task, const char* name, TF_Tensor* tensor) {
  for (int i = 0; i < task->signature->num_inputs; ++i) {
    if (!strcmp(task->signature->inputs[i].name, name) && !task->inputs[i]) {
      task->inputs[i] = tensor;
      return 1;
    }
  }
  return 0;
}

static void read_request(int64_t id) {
  char *version = read_string(), *signature = read_string();
  Task* task = calloc(1, sizeof(Task));
  task->id = id;
  task->timeout = read_number();
  task->arrived = now_micros();
  task->version = use_version(version);
  const char* wrong = task->version ? NULL : "No such version.";
  if (!wrong) task->signature = find_signature(task->version, signature);
  if (!wrong && !task->signature) wrong = "No such signature.";
  if (!wrong) {
    int inputs = task->signature->num_inputs;
    task->inputs = calloc(inputs + 1, sizeof(TF_Tensor*));
  }
  TF_Code code = wrong ? TF_NOT_FOUND : TF_INVALID_ARGUMENT;
  int64_t count = read_number();
  for (int64_t i = 0; i < count; ++i) {
    char* name = read_string();
    TF_Tensor* tensor = read_tensor();
    if (wrong || !place_input(task, name, tensor)) {
      if (!wrong) wrong = "The signature has no such input.";
      delete_tensor(tensor);
    }
    free(name);
  }
  free(version);
  free(signature);
  if (!wrong && count < task->signature->num_inputs) {
    wrong = "An input is missing.";
  }
  if (!wrong) {
    add_task(task);
    return;
  }
  reply(id, code, wrong);
  if (task->signature) {
    delete_task(task);
  } else {
    if (task->version) leave_version(task->version);
    free(task);
  }
}

int main(void) {
  disable_xla_compilation();
  start_threads(THREADS);
  for (;;) {
    int64_t id = read_number();
    char *command = read_string(), *folder;
    if (!strcmp(command, "load")) {
      Version* version = read_version(&folder);
      change_beside(id, version, folder);
    } else if (!strcmp(command, "serve")) {
      char* name = read_string();
      serve(id, name);
      free(name);
    } else if (!strcmp(command, "unload")) {
      change_beside(id, NULL, read_string());
    } else if (!strcmp(command, "batch")) {
      read_batching(id);
    } else if (!strcmp(command, "memory")) {
      struct mallinfo2 info = mallinfo2(); /* hblkhd: what is large */
      begin_reply(id, TF_OK, "", info.uordblks + info.hblkhd, 0);
      end_reply();
    } else {
      read_request(id);
    }
    free(command);
  }
}
