/* A stand-in for a stock TensorFlow Serving: no Python, no XLA.

   It has what may go wrong around a SavedModel: versions that come and go
   while others answer, requests joined into batches and their answers split
   again, time-outs, and requests that fit no signature. The rules of joining
   are those of the server's batching session. */
#ifndef SERVER_H
#define SERVER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

typedef struct {
  char* name;
  TF_Output place;
} Port;

typedef struct {
  char* name;
  int num_inputs, num_outputs;
  Port *inputs, *outputs;
} Signature;

typedef struct Version {
  char* name;
  TF_Graph* graph;
  TF_Session* session;
  int num_signatures;
  Signature* signatures;
  int users; /* requests that are waiting for it or run on it */
  struct Version* next;
} Version;

typedef struct Task {
  int64_t id;
  int64_t timeout; /* ms, 0 = none */
  int64_t arrived; /* us */
  int64_t rows;
  Version* version;
  const Signature* signature;
  TF_Tensor** inputs; /* in the order of the signature */
  struct Task* next;
} Task;

/* wire.c: numbers, strings and tensors from stdin and to stdout. */
int64_t read_number(void);
char* read_string(void);
TF_Tensor* read_tensor(void);
void delete_tensor(TF_Tensor* tensor);
void begin_reply(int64_t id, TF_Code code, const char* message, int64_t rows,
                 int64_t num_outputs);
void write_output(const char* name, const TF_Tensor* tensor, int64_t first,
                  int64_t rows);
void end_reply(void);
void reply(int64_t id, TF_Code code, const char* message);

/* versions.c: SavedModels by name. */
Version* read_version(char** folder);
void load(int64_t id, Version* version, char* folder);
void serve(int64_t id, const char* name);
void unload(int64_t id, char* name);
Version* use_version(const char* name);
void leave_version(Version* version);
const Signature* find_signature(const Version* version, const char* name);

/* tensors.c: rows of several tensors in one. */
int same_but_rows(const TF_Tensor* one, const TF_Tensor* other);
TF_Tensor* joined(TF_Tensor** parts, int count, int64_t padding);

/* batches.c: tasks that wait, and the threads that run them. */
void set_batching(int64_t max_rows, int64_t wait_micros, int num_allowed,
                  const int64_t* allowed);
void start_threads(int count);
void add_task(Task* task);
void delete_task(Task* task);
int64_t now_micros(void);

#endif
