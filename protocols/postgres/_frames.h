/* Numbers and rows of the protocol, and what all loops over them need. */
#ifndef WIREWARDEN_FRAMES_H
#define WIREWARDEN_FRAMES_H

#include "../_mask.h"

#define HEAD 7 /* type byte, int32 length, int16 count */

static inline uint32_t get32(const unsigned char *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline void put32(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)(v >> 24);
    p[1] = (unsigned char)(v >> 16);
    p[2] = (unsigned char)(v >> 8);
    p[3] = (unsigned char)v;
}

/* Checks the header of the frame at `at`; its end, or NULL with an error. */
static const unsigned char *row_end(const unsigned char *at, const unsigned char *end,
                                    Py_ssize_t columns)
{
    uint32_t length;
    if (end - at < HEAD || at[0] != 'D') {
        lie("not a whole DataRow");
        return NULL;
    }
    length = get32(at + 1);
    if (length < HEAD - 1 || length > 0x7fffffffu || (size_t)(end - at - 1) < length) {
        lie("a DataRow's length is wrong");
        return NULL;
    }
    if ((((Py_ssize_t)at[5] << 8) | at[6]) != columns) {
        lie("a DataRow has another number of columns than announced");
        return NULL;
    }
    return at + 1 + length;
}

/* The length of the column at *at, which moves past the length word; -1 is
 * NULL, -2 an error. On >= 0 that many bytes are there. */
static inline int64_t column_length(const unsigned char **at, const unsigned char *end)
{
    uint32_t length;
    if (end - *at < 4)
        return lie("a DataRow ends within its columns"), -2;
    length = get32(*at);
    *at += 4;
    if (length == 0xffffffffu)
        return -1;
    if (length > 0x7fffffffu || (size_t)(end - *at) < length)
        return lie("a column's length is wrong"), -2;
    return (int64_t)length;
}

/* The type of masks in C (`accept`), NULL while there is none. */
static PyTypeObject *mask_type;

/* Appends what `act`, bytes or a mask, shows for a value: 1; 0 for NULL, -1 an error. */
static int put_shown(Out *out, PyObject *act, const unsigned char *value, size_t size)
{
    PyObject *argument, *shown;
    int done = -1;

    if (Py_TYPE(act) == mask_type) {
        const Mask *mask = (const Mask *)act;
        return mask->into(mask, value, size, out);
    }
    if (PyBytes_Check(act))
        return out_add(out, PyBytes_AS_STRING(act), (size_t)PyBytes_GET_SIZE(act)) < 0 ? -1 : 1;
    argument = PyBytes_FromStringAndSize((const char *)value, (Py_ssize_t)size);
    if (argument == NULL)
        return -1;
    shown = PyObject_CallOneArg(act, argument);
    Py_DECREF(argument);
    if (shown == NULL)
        return -1;
    if (shown == Py_None)
        done = 0;
    else if (!PyBytes_Check(shown))
        PyErr_SetString(PyExc_TypeError, "a mask must give bytes or None");
    else if (out_add(out, PyBytes_AS_STRING(shown), (size_t)PyBytes_GET_SIZE(shown)) == 0)
        done = 1;
    Py_DECREF(shown);
    return done;
}

#endif
