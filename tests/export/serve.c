/* Asks a SavedModel as a stock TensorFlow Serving would: no Python, no XLA.

   serve FOLDER IN_OP IN_INDEX TEXT_OP TEXT_INDEX SCORE_OP SCORE_INDEX
   One text a line in; one score, tab and text a line out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

/* tensorflow::DisableXlaCompilation(), which the server calls when it starts
   without --xla_cpu_compilation_enabled. */
extern void disable_xla_compilation(void) __asm__(
    "_ZN10tensorflow21DisableXlaCompilationEv");

enum { MAX_TEXTS = 64, MAX_LINE = 1 << 14 };

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

static TF_Output named(TF_Graph* graph, char** arguments) {
  TF_Output output = {TF_GraphOperationByName(graph, arguments[0]),
                      atoi(arguments[1])};
  if (output.oper == NULL) {
    fprintf(stderr, "no operation %s\n", arguments[0]);
    exit(1);
  }
  return output;
}

static TF_Tensor* read_texts(void) {
  static TF_TString texts[MAX_TEXTS];
  static char line[MAX_LINE];
  int64_t count = 0;
  while (count < MAX_TEXTS && fgets(line, MAX_LINE, stdin) != NULL) {
    TF_StringInit(&texts[count]);
    TF_StringCopy(&texts[count], line, strcspn(line, "\n"));
    ++count;
  }
  size_t size = count * sizeof(TF_TString);
  TF_Tensor* tensor = TF_AllocateTensor(TF_STRING, &count, 1, size);
  memcpy(TF_TensorData(tensor), texts, size);
  return tensor;
}

int main(int count, char** arguments) {
  if (count != 8) return 2;
  disable_xla_compilation();
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  const char* tags[] = {"serve"};
  TF_Session* session =
      TF_LoadSessionFromSavedModel(TF_NewSessionOptions(), NULL, arguments[1],
                                   tags, 1, graph, NULL, status);
  check(status, "load");

  TF_Output input = named(graph, arguments + 2);
  TF_Output outputs[] = {named(graph, arguments + 4),
                         named(graph, arguments + 6)};
  TF_Tensor* texts = read_texts();
  TF_Tensor* results[2] = {NULL, NULL};
  TF_SessionRun(session, NULL, &input, &texts, 1, outputs, results, 2, NULL, 0,
                NULL, status);
  check(status, "run");

  const TF_TString* told = TF_TensorData(results[0]);
  const float* scores = TF_TensorData(results[1]);
  for (int64_t i = 0; i < TF_Dim(results[0], 0); ++i) {
    printf("%.9g\t%.*s\n", scores[i], (int)TF_StringGetSize(&told[i]),
           TF_StringGetDataPointer(&told[i]));
  }
  return 0;
}
