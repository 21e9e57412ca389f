/* SavedModels by name, each with the number of requests that use it. */
#include <pthread.h>

#include "server.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t left = PTHREAD_COND_INITIALIZER;
static Version* versions;
static char* served; /* the version of a request that names none */

static Port* read_ports(int* count) {
  *count = read_number();
  Port* ports = calloc(*count + 1, sizeof(Port));
  for (int i = 0; i < *count; ++i) {
    ports[i].name = read_string();
    /* The name of the operation, until there is a graph to look it up. */
    ports[i].place.oper = (TF_Operation*)read_string();
    ports[i].place.index = read_number();
  }
  return ports;
}

Version* read_version(char** folder) {
  Version* version = calloc(1, sizeof(Version));
  version->name = read_string();
  *folder = read_string();
  version->num_signatures = read_number();
  version->signatures = calloc(version->num_signatures + 1, sizeof(Signature));
  for (int i = 0; i < version->num_signatures; ++i) {
    Signature* signature = &version->signatures[i];
    signature->name = read_string();
    signature->inputs = read_ports(&signature->num_inputs);
    signature->outputs = read_ports(&signature->num_outputs);
  }
  return version;
}

static int find_operations(TF_Graph* graph, Port* ports, int count) {
  for (int i = 0; i < count; ++i) {
    char* name = (char*)ports[i].place.oper;
    ports[i].place.oper = TF_GraphOperationByName(graph, name);
    free(name);
    if (ports[i].place.oper == NULL) return 0;
  }
  return 1;
}

void load(int64_t id, Version* version, char* folder) {
  const char* tags[] = {"serve"};
  TF_Status* status = TF_NewStatus();
  TF_SessionOptions* options = TF_NewSessionOptions();
  version->graph = TF_NewGraph();
  version->session = TF_LoadSessionFromSavedModel(
      options, NULL, folder, tags, 1, version->graph, NULL, status);
  TF_DeleteSessionOptions(options);
  free(folder);
  int found = TF_GetCode(status) == TF_OK;
  for (int i = 0; found && i < version->num_signatures; ++i) {
    Signature* one = &version->signatures[i];
    found = find_operations(version->graph, one->inputs, one->num_inputs) &&
            find_operations(version->graph, one->outputs, one->num_outputs);
    if (!found) TF_SetStatus(status, TF_NOT_FOUND, "No such operation.");
  }
  if (found) {
    pthread_mutex_lock(&lock);
    version->next = versions;
    versions = version;
    pthread_mutex_unlock(&lock);
  }
  reply(id, TF_GetCode(status), TF_Message(status));
  TF_DeleteStatus(status);
}

static Version** place_of(const char* name) {
  Version** place = &versions;
  while (*place && strcmp((*place)->name, name)) place = &(*place)->next;
  return place;
}

void serve(int64_t id, const char* name) {
  pthread_mutex_lock(&lock);
  int found = *place_of(name) != NULL;
  if (found) {
    free(served);
    served = strdup(name);
  }
  pthread_mutex_unlock(&lock);
  reply(id, found ? TF_OK : TF_NOT_FOUND, found ? "" : "No such version.");
}

static void delete_ports(Port* ports, int count) {
  for (int i = 0; i < count; ++i) free(ports[i].name);
  free(ports);
}

/* Waits for the requests that use the version; no new one finds it. */
void unload(int64_t id, char* name) {
  pthread_mutex_lock(&lock);
  Version** place = place_of(name);
  Version* version = *place;
  if (version) *place = version->next;
  while (version && version->users) pthread_cond_wait(&left, &lock);
  pthread_mutex_unlock(&lock);
  free(name);
  if (!version) {
    reply(id, TF_NOT_FOUND, "No such version.");
    return;
  }
  TF_Status* status = TF_NewStatus();
  TF_CloseSession(version->session, status);
  TF_DeleteSession(version->session, status);
  TF_DeleteGraph(version->graph);
  for (int i = 0; i < version->num_signatures; ++i) {
    Signature* one = &version->signatures[i];
    delete_ports(one->inputs, one->num_inputs);
    delete_ports(one->outputs, one->num_outputs);
    free(one->name);
  }
  free(version->signatures);
  free(version->name);
  free(version);
  reply(id, TF_GetCode(status), TF_Message(status));
  TF_DeleteStatus(status);
}

Version* use_version(const char* name) {
  pthread_mutex_lock(&lock);
  if (!*name && served) name = served;
  Version* version = *place_of(name);
  if (version) ++version->users;
  pthread_mutex_unlock(&lock);
  return version;
}

void leave_version(Version* version) {
  pthread_mutex_lock(&lock);
  if (--version->users == 0) pthread_cond_broadcast(&left);
  pthread_mutex_unlock(&lock);
}

const Signature* find_signature(const Version* version, const char* name) {
  if (!*name) name = "serving_default";
  for (int i = 0; i < version->num_signatures; ++i) {
    if (!strcmp(version->signatures[i].name, name)) {
      return &version->signatures[i];
    }
  }
  return NULL;
}
