/* The tuples of binary COPY: tuples and as_copy, as in tupleloop.py. */
#ifndef WIREWARDEN_TUPLES_H
#define WIREWARDEN_TUPLES_H

#include "_frames.h"

enum { MORE, OVER, TOO_LONG };

static PyObject *tuples(PyObject *Py_UNUSED(self), PyObject *args)
{
    Py_buffer held;
    Py_ssize_t at, left, columns, limit, size, start = 0;
    const unsigned char *base;
    PyObject *result = NULL;
    Out out = {NULL, 0, 0};
    int state = MORE;

    if (!PyArg_ParseTuple(args, "y*nnnn", &held, &at, &left, &columns, &limit))
        return NULL;
    base = held.buf;
    size = held.len;
    if (at < 0 || at > size || left < -1 || left > columns) {
        lie("a position is outside");
        goto failed;
    }
    for (;;) {
        unsigned char head[5] = {'D'};
        if (left < 0) {
            int count;
            if (size - at < 2)
                break;
            count = (int16_t)((base[at] << 8) | base[at + 1]);
            at += 2;
            if (count == -1) {
                state = OVER;
                start = at;
                break;
            }
            if (count != columns) {
                lie("a row of COPY has another number of columns than announced");
                goto failed;
            }
            left = count;
        }
        for (; left > 0 && size - at >= 4; left--) {
            uint32_t length = get32(base + at);
            if (length == 0xffffffffu)
                length = 0;
            if (length > 0x7fffffffu) {
                lie("a column's length is wrong");
                goto failed;
            }
            if ((Py_ssize_t)length > limit) {
                state = TOO_LONG;
                break;
            }
            if (size - at - 4 < (Py_ssize_t)length)
                break;
            at += 4 + (Py_ssize_t)length;
        }
        if (left > 0)
            break;
        if (at - start > 0x7fffffff - 4) {
            lie("a masked row is too long");
            goto failed;
        }
        put32(head + 1, (uint32_t)(at - start + 4));
        if (out_add(&out, head, 5) < 0 || out_add(&out, base + start, (size_t)(at - start)) < 0)
            goto failed;
        start = at;
        left = -1;
    }
    result = Py_BuildValue("(y#nnni)", out.used ? (const char *)out.data : "",
                           (Py_ssize_t)out.used, start, at - start, left, state);
failed:
    PyMem_Free(out.data);
    PyBuffer_Release(&held);
    return result;
}

static PyObject *as_copy(PyObject *Py_UNUSED(self), PyObject *frames)
{
    unsigned char *at, *end;
    PyObject *result;

    if (!PyBytes_Check(frames)) {
        PyErr_SetString(PyExc_TypeError, "frames are bytes");
        return NULL;
    }
    if (PyBytes_GET_SIZE(frames) == 0)
        return Py_NewRef(frames); /* the one and only empty bytes */
    result = PyBytes_FromStringAndSize(PyBytes_AS_STRING(frames), PyBytes_GET_SIZE(frames));
    if (result == NULL)
        return NULL;
    if (PyBytes_GET_SIZE(frames) == 1) { /* one byte is shared, too, and no frame */
        Py_DECREF(result);
        return lie("not a whole DataRow"), NULL;
    }
    at = (unsigned char *)PyBytes_AS_STRING(result);
    end = at + PyBytes_GET_SIZE(result);
    while (at < end) {
        uint32_t length = end - at < 5 || *at != 'D' ? 0 : get32(at + 1);
        if (length < 4 || length > 0x7fffffffu || (size_t)(end - at - 1) < length) {
            Py_DECREF(result);
            return lie("not a whole DataRow"), NULL;
        }
        *at = 'd';
        at += 1 + (size_t)length;
    }
    return result;
}

#endif
