/* Rows of several tensors in one. */
#include "server.h"

static int64_t rows_of(const TF_Tensor* tensor) { return TF_Dim(tensor, 0); }

int same_but_rows(const TF_Tensor* one, const TF_Tensor* other) {
  if (TF_TensorType(one) != TF_TensorType(other)) return 0;
  if (TF_NumDims(one) != TF_NumDims(other)) return 0;
  for (int i = 1; i < TF_NumDims(one); ++i) {
    if (TF_Dim(one, i) != TF_Dim(other, i)) return 0;
  }
  return 1;
}

static void copy_strings(TF_TString* to, const TF_TString* from,
                         int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    TF_StringInit(&to[i]);
    TF_StringCopy(&to[i], TF_StringGetDataPointer(&from[i]),
                  TF_StringGetSize(&from[i]));
  }
}

/* All rows of all parts, then the first row of the last part again and again,
   as the server fills a batch up. */
TF_Tensor* joined(TF_Tensor** parts, int count, int64_t padding) {
  TF_DataType type = TF_TensorType(parts[0]);
  int rank = TF_NumDims(parts[0]);
  int64_t sizes[8] = {padding}, of_row = 1;
  for (int i = 0; i < count; ++i) sizes[0] += rows_of(parts[i]);
  for (int i = 1; i < rank; ++i) of_row *= sizes[i] = TF_Dim(parts[0], i);
  int is_string = type == TF_STRING;
  size_t each = is_string ? sizeof(TF_TString) : TF_DataTypeSize(type);
  TF_Tensor* whole =
      TF_AllocateTensor(type, sizes, rank, sizes[0] * of_row * each);
  char* to = TF_TensorData(whole);
  for (int i = 0; i < count + padding; ++i) {
    TF_Tensor* part = parts[i < count ? i : count - 1];
    int64_t elements = (i < count ? rows_of(part) : 1) * of_row;
    if (is_string) {
      copy_strings((TF_TString*)to, TF_TensorData(part), elements);
    } else if (elements) {
      memcpy(to, TF_TensorData(part), elements * each);
    }
    to += elements * each;
  }
  return whole;
}
