/* Numbers, strings and tensors from stdin and to stdout. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "server.h"

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

static void read_bytes(void* data, size_t size) {
  /* No request is left: nor is a reason to go on. */
  if (size && fread(data, 1, size, stdin) != size) _exit(0);
}

static void write_bytes(const void* data, size_t size) {
  if (size && fwrite(data, 1, size, stdout) != size) _exit(1);
}

int64_t read_number(void) {
  int64_t number;
  read_bytes(&number, sizeof number);
  return number;
}

char* read_string(void) {
  int64_t size = read_number();
  char* string = malloc(size + 1);
  read_bytes(string, size);
  string[size] = '\0';
  return string;
}

TF_Tensor* read_tensor(void) {
  TF_DataType type = read_number();
  int rank = read_number();
  int64_t sizes[8], count = 1;
  for (int i = 0; i < rank; ++i) count *= sizes[i] = read_number();
  int is_string = type == TF_STRING;
  size_t each = is_string ? sizeof(TF_TString) : TF_DataTypeSize(type);
  TF_Tensor* tensor = TF_AllocateTensor(type, sizes, rank, count * each);
  if (!is_string) {
    read_bytes(TF_TensorData(tensor), count * each);
    return tensor;
  }
  TF_TString* strings = TF_TensorData(tensor);
  for (int64_t i = 0; i < count; ++i) {
    int64_t size = read_number();
    char* string = malloc(size + 1);
    read_bytes(string, size);
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], string, size);
    free(string);
  }
  return tensor;
}

/* A tensor that was made here: TensorFlow leaves its strings to us. */
void delete_tensor(TF_Tensor* tensor) {
  if (TF_TensorType(tensor) == TF_STRING) {
    TF_TString* strings = TF_TensorData(tensor);
    int64_t count = TF_TensorElementCount(tensor);
    for (int64_t i = 0; i < count; ++i) TF_StringDealloc(&strings[i]);
  }
  TF_DeleteTensor(tensor);
}

static void write_number(int64_t number) {
  write_bytes(&number, sizeof number);
}

static void write_string(const char* data, int64_t size) {
  write_number(size);
  write_bytes(data, size);
}

void begin_reply(int64_t id, TF_Code code, const char* message, int64_t rows,
                 int64_t num_outputs) {
  pthread_mutex_lock(&writing);
  write_number(id);
  write_number(code);
  write_string(message, strlen(message));
  write_number(rows);
  write_number(num_outputs);
}

/* Writes some rows of a tensor; one without rows is written whole. */
void write_output(const char* name, const TF_Tensor* tensor, int64_t first,
                  int64_t rows) {
  int rank = TF_NumDims(tensor);
  int64_t all = rank ? TF_Dim(tensor, 0) : 1;
  int64_t of_row = all ? TF_TensorElementCount(tensor) / all : 0;
  write_string(name, strlen(name));
  write_number(TF_TensorType(tensor));
  write_number(rank);
  for (int i = 0; i < rank; ++i) write_number(i ? TF_Dim(tensor, i) : rows);
  if (rank == 0) rows = 1;
  if (TF_TensorType(tensor) != TF_STRING) {
    size_t each = of_row * TF_DataTypeSize(TF_TensorType(tensor));
    write_bytes((char*)TF_TensorData(tensor) + first * each, rows * each);
    return;
  }
  const TF_TString* strings = TF_TensorData(tensor);
  for (int64_t i = first * of_row; i < (first + rows) * of_row; ++i) {
    write_string(TF_StringGetDataPointer(&strings[i]),
                 TF_StringGetSize(&strings[i]));
  }
}

void end_reply(void) {
  if (fflush(stdout)) _exit(1);
  pthread_mutex_unlock(&writing);
}

void reply(int64_t id, TF_Code code, const char* message) {
  begin_reply(id, code, message, 0, 0);
  end_reply();
}
