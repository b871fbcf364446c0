/* Bytes that grow as they are written, and how to refuse. Include Python.h and string.h first. */
#ifndef WIREWARDEN_OUT_H
#define WIREWARDEN_OUT_H

/* A growing output. */
typedef struct {
    unsigned char *data;
    size_t used, size;
} Out;

static int out_room(Out *out, size_t more)
{
    size_t want;
    unsigned char *data;
    if (more <= out->size - out->used)
        return 0;
    if (more > (size_t)PY_SSIZE_T_MAX / 2 - out->used) {
        PyErr_NoMemory();
        return -1;
    }
    want = out->used + more;
    want += want / 4 + 64;
    data = PyMem_Realloc(out->data, want);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->data = data;
    out->size = want;
    return 0;
}

static inline int out_add(Out *out, const void *from, size_t count)
{
    if (out_room(out, count) < 0)
        return -1;
    if (count)
        memcpy(out->data + out->used, from, count);
    out->used += count;
    return 0;
}

/* The server lied: sets a ValueError. Always -1. */
static inline int lie(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return -1;
}

#endif
