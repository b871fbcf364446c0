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
    size_t keep; /* bytes of a value, or of a digest */
    union {
        struct {
            unsigned char to[256], gone[256];
        } table;
        struct {
            uint32_t inner[8], outer[8];
            void (*block)(uint32_t state[8], const unsigned char *block);
        } key;
    };
} Mask;

#endif
