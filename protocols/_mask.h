/* A mask in C, and how loops in C call one without an object for each value. */
#ifndef WIREWARDEN_MASK_H
#define WIREWARDEN_MASK_H

#include "_out.h"

#define MASK_CAPSULE "protocols._masks.TYPE"

/* For Python it is a callable, bytes to bytes or None. */
typedef struct Mask {
    PyObject_HEAD
    vectorcallfunc call;
    /* Appends what is shown for `value` to `out`: 1. Nothing is appended for NULL: 0. An
     * error, -1, may leave bytes behind. The value is not looked at beyond `size`, which is
     * at most PY_SSIZE_T_MAX; `value` is not within `out`. */
    int (*into)(const struct Mask *self, const unsigned char *value, size_t size, Out *out);
    PyObject *reference; /* the same mask in Python, NULL where it is not needed */
    size_t keep;
    unsigned char table[256];
    unsigned char gone[256];
} Mask;

#endif
