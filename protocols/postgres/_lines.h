/* The rows of COPY in the formats text and csv: mask_lines, as in lineloop.py. */
#ifndef WIREWARDEN_LINES_H
#define WIREWARDEN_LINES_H

#include "_frames.h"

/* The end of the cell at `at`, which is before `end`; NULL with an error. The
 * byte there is the delimiter or the newline. `block` ends in a newline. */
static const unsigned char *cell_end(const unsigned char *at, const unsigned char *end,
                                     int delimiter, int quote, int escape)
{
    if (quote < 0) {
        for (; at < end; at++) {
            if (*at == delimiter || *at == '\n')
                return at;
            /* An escape hides the byte after it, but never the row's end. */
            if (*at == '\\' && end - at > 1 && at[1] != '\n')
                at++;
        }
    } else if (at < end && *at == quote) {
        for (at++; at < end; at++) {
            if (escape != quote && *at == escape) {
                at++;
            } else if (*at == quote) {
                if (escape == quote && end - at > 1 && at[1] == quote) {
                    at++;
                    continue;
                }
                at++;
                if (at < end && (*at == delimiter || *at == '\n'))
                    return at;
                break;
            }
        }
    } else {
        for (; at < end && *at != quote; at++)
            if (*at == delimiter || *at == '\n')
                return at;
    }
    lie("a row of COPY is not well-formed");
    return NULL;
}

static int line_cell(Out *out, PyObject *act, const unsigned char *cell, Py_ssize_t size)
{
    PyObject *argument, *shown;
    int bad = -1;
    if (PyBytes_Check(act))
        return out_add(out, PyBytes_AS_STRING(act), (size_t)PyBytes_GET_SIZE(act));
    argument = PyBytes_FromStringAndSize((const char *)cell, size);
    if (argument == NULL)
        return -1;
    shown = PyObject_CallOneArg(act, argument);
    Py_DECREF(argument);
    if (shown == NULL)
        return -1;
    if (PyBytes_Check(shown))
        bad = out_add(out, PyBytes_AS_STRING(shown), (size_t)PyBytes_GET_SIZE(shown));
    else
        PyErr_SetString(PyExc_TypeError, "a cell's mask must give bytes");
    Py_DECREF(shown);
    return bad;
}

static PyObject *mask_lines(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *block, *actions, *null, *result = NULL, *totals = NULL;
    const unsigned char *at, *end, *done;
    int delimiter, quote, escape, framed;
    Py_ssize_t columns, column;
    Py_ssize_t *counts = NULL;
    Out out = {NULL, 0, 0};

    if (!PyArg_ParseTuple(args, "SO!iiiSp", &block, &PyTuple_Type, &actions, &delimiter, &quote,
                          &escape, &null, &framed))
        return NULL;
    columns = PyTuple_GET_SIZE(actions);
    at = (const unsigned char *)PyBytes_AS_STRING(block);
    end = at + PyBytes_GET_SIZE(block);
    counts = PyMem_Calloc((size_t)columns + 1, sizeof(*counts));
    if (counts == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (out_room(&out, (size_t)(end - at)) < 0)
        goto failed;
    for (done = at; at < end;) {
        size_t head = 0;
        if (framed) {
            head = out.used;
            if (out_add(&out, "d\0\0\0", 5) < 0)
                goto failed;
        }
        for (column = 0;; column++) {
            const unsigned char *stop = cell_end(at, end, delimiter, quote, escape);
            PyObject *act;
            if (stop == NULL)
                goto failed;
            if (column >= columns) {
                /* A row of no columns is an empty line. */
                if (columns == 0 && column == 0 && stop == at && *stop == '\n') {
                    at = stop + 1;
                    break;
                }
                lie("a row of COPY has another number of columns than announced");
                goto failed;
            }
            act = PyTuple_GET_ITEM(actions, column);
            if (act != Py_None && (stop - at != PyBytes_GET_SIZE(null) ||
                                   memcmp(at, PyBytes_AS_STRING(null), (size_t)(stop - at)) != 0)) {
                if (out_add(&out, done, (size_t)(at - done)) < 0 ||
                    line_cell(&out, act, at, stop - at) < 0)
                    goto failed;
                done = stop;
                counts[column]++;
            }
            at = stop + 1;
            if (*stop == '\n') {
                if (column + 1 != columns) {
                    lie("a row of COPY has another number of columns than announced");
                    goto failed;
                }
                break;
            }
        }
        if (framed) {
            size_t size;
            if (out_add(&out, done, (size_t)(at - done)) < 0)
                goto failed;
            done = at;
            size = out.used - head - 1;
            if (size > 0x7fffffffu) {
                lie("a masked row is too long");
                goto failed;
            }
            put32(out.data + head + 1, (uint32_t)size);
        }
    }
    if (out_add(&out, done, (size_t)(end - done)) < 0)
        goto failed;
    totals = PyTuple_New(columns);
    if (totals == NULL)
        goto failed;
    for (column = 0; column < columns; column++) {
        PyObject *number = PyLong_FromSsize_t(counts[column]);
        if (number == NULL)
            goto failed;
        PyTuple_SET_ITEM(totals, column, number);
    }
    result = Py_BuildValue("(y#O)", out.used ? (const char *)out.data : "", (Py_ssize_t)out.used,
                           totals);
failed:
    Py_XDECREF(totals);
    PyMem_Free(counts);
    PyMem_Free(out.data);
    return result;
}

#endif
