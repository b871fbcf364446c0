/* The loops of rowloop.py and lineloop.py in C: same arguments, results and errors.
 *
 * Every read of the buffer is behind a comparison with the end of the frame
 * or value that it is in; lengths are compared by subtraction from what is
 * left, so that no sum can overflow. ValueError means the server lied.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_out.h"

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

/* Puts what `act` shows for a value to `out`, length word included. */
static int show(Out *out, PyObject *act, const unsigned char *value, int64_t length)
{
    static const unsigned char null[4] = {0xff, 0xff, 0xff, 0xff};
    PyObject *shown;
    Py_ssize_t size;
    unsigned char word[4];
    int bad;

    if (act == Py_Ellipsis)
        return out_add(out, null, 4);
    if (PyBytes_Check(act)) {
        shown = act;
        Py_INCREF(shown);
    } else {
        PyObject *argument = PyBytes_FromStringAndSize((const char *)value, (Py_ssize_t)length);
        if (argument == NULL)
            return -1;
        shown = PyObject_CallOneArg(act, argument);
        Py_DECREF(argument);
        if (shown == NULL)
            return -1;
    }
    if (shown == Py_None) {
        bad = out_add(out, null, 4);
    } else if (!PyBytes_Check(shown)) {
        PyErr_SetString(PyExc_TypeError, "a mask must give bytes or None");
        bad = -1;
    } else {
        size = PyBytes_GET_SIZE(shown);
        if ((uint64_t)size > 0x7fffffffu) {
            bad = lie("a masked row is too long");
        } else {
            put32(word, (uint32_t)size);
            bad = out_add(out, word, 4) < 0 || out_add(out, PyBytes_AS_STRING(shown), (size_t)size) < 0
                      ? -1 : 0;
        }
    }
    Py_DECREF(shown);
    return bad;
}

static PyObject *mask_rows(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *buffer, *actions, *result = NULL, *totals = NULL;
    const unsigned char *at, *end, *start, *done;
    Py_ssize_t columns, column;
    Py_ssize_t *counts = NULL;
    Out out = {NULL, 0, 0};
    int edited = 0;

    if (!PyArg_ParseTuple(args, "SO!", &buffer, &PyTuple_Type, &actions))
        return NULL;
    columns = PyTuple_GET_SIZE(actions);
    start = (const unsigned char *)PyBytes_AS_STRING(buffer);
    end = start + PyBytes_GET_SIZE(buffer);
    counts = PyMem_Calloc((size_t)columns + 1, sizeof(*counts));
    if (counts == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    /* All before `done` is in `out`. */
    for (at = done = start; at < end;) {
        const unsigned char *row = at, *stop = row_end(at, end, columns);
        size_t head = 0;
        int changed = 0;
        if (stop == NULL)
            goto failed;
        at += HEAD;
        for (column = 0; column < columns; column++) {
            PyObject *act = PyTuple_GET_ITEM(actions, column);
            int64_t length = column_length(&at, stop);
            if (length == -2)
                goto failed;
            if (length < 0)
                continue;
            if (act != Py_None) {
                if (!changed) {
                    changed = edited = 1;
                    if (out.size == 0 && out_room(&out, (size_t)(end - start)) < 0)
                        goto failed;
                    if (out_add(&out, done, (size_t)(row - done)) < 0)
                        goto failed;
                    head = out.used;
                    done = row;
                }
                if (out_add(&out, done, (size_t)(at - 4 - done)) < 0 ||
                    show(&out, act, at, length) < 0)
                    goto failed;
                done = at + length;
                counts[column]++;
            }
            at += length;
        }
        if (at != stop) {
            lie("a DataRow goes on after its columns");
            goto failed;
        }
        if (changed) {
            size_t size;
            if (out_add(&out, done, (size_t)(stop - done)) < 0)
                goto failed;
            done = stop;
            size = out.used - head - 1;
            if (size > 0x7fffffffu) {
                lie("a masked row is too long");
                goto failed;
            }
            put32(out.data + head + 1, (uint32_t)size);
        }
    }
    if (edited && out_add(&out, done, (size_t)(end - done)) < 0)
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
    if (edited)
        result = Py_BuildValue("(y#O)", (const char *)out.data, (Py_ssize_t)out.used, totals);
    else
        result = Py_BuildValue("(OO)", buffer, totals);
failed:
    Py_XDECREF(totals);
    PyMem_Free(counts);
    PyMem_Free(out.data);
    return result;
}

typedef struct {
    Out joined, index;
    const unsigned char *start;
} Gathered;

static int gather_piece(Gathered *g, Py_ssize_t column, const unsigned char *from,
                        const void *piece, size_t size)
{
    uint32_t entry[3];
    if (g->joined.used > 0xffffffffu - size - 1)
        return lie("too much to look at in one run of rows");
    entry[0] = (uint32_t)g->joined.used;
    entry[1] = (uint32_t)(from - g->start);
    entry[2] = (uint32_t)column;
    if (out_add(&g->index, entry, sizeof(entry)) < 0 || out_room(&g->joined, size + 1) < 0)
        return -1;
    if (size)
        memcpy(g->joined.data + g->joined.used, piece, size);
    g->joined.used += size;
    g->joined.data[g->joined.used++] = 0;
    return 0;
}

/* A binary array: int32 dimensions, flags, element type; int32 size and lower
 * bound of each dimension; each element as a length word and its bytes. */
static int gather_array(Gathered *g, Py_ssize_t column, const unsigned char *at, size_t size)
{
    static const char *bad = "a binary array is malformed";
    const unsigned char *end = at + size, *dims = at + 12;
    uint32_t ndim, dim;
    uint64_t count;

    if (size < 12)
        return lie(bad);
    ndim = get32(at);
    if (ndim > 6 || size - 12 < 8 * (size_t)ndim)
        return lie(bad);
    at = dims + 8 * ndim;
    count = ndim ? 1 : 0;
    for (dim = 0; dim < ndim; dim++) {
        uint64_t more = get32(dims + 8 * dim);
        /* An element takes at least four bytes. Six factors below 2^32 could
         * overflow: stop at the first product that is too big, but let a zero
         * that follows make the whole empty, as the reference does. */
        if (count > 0xffffffffu && more != 0)
            count = UINT64_MAX;
        else
            count *= more;
    }
    if (count > (uint64_t)(end - at) / 4)
        return lie(bad);
    for (; count > 0; count--) {
        uint32_t length;
        if (end - at < 4)
            return lie(bad);
        length = get32(at);
        at += 4;
        if (length == 0xffffffffu)
            continue;
        if (length > 0x7fffffffu || (size_t)(end - at) < length)
            return lie(bad);
        if (gather_piece(g, column, at, at, length) < 0)
            return -1;
        at += length;
    }
    return at == end ? 0 : lie(bad);
}

#define MOST_GROUPS 16

/* A binary numeric: int16 count of groups, int16 weight of the first, sign,
 * scale, then the groups of four decimal digits. See rowloop._digits. */
static int gather_numeric(Gathered *g, Py_ssize_t column, const unsigned char *at, size_t size)
{
    static const char *bad = "a binary numeric is malformed";
    int count, weight, places, place, begun = 0;
    Out *to = &g->joined;
    size_t first = to->used;
    uint32_t entry[3];

    if (size < 8)
        return lie(bad);
    count = (at[0] << 8) | at[1];
    weight = (int16_t)((at[2] << 8) | at[3]);
    if (size != 8 + 2 * (size_t)count)
        return lie(bad);
    if (weight < -MOST_GROUPS || weight >= MOST_GROUPS || count == 0)
        return 0;
    places = weight + 1 > count ? weight + 1 : count;
    if (first > 0xffffffffu - 5 * (size_t)places - 8)
        return lie("too much to look at in one run of rows");
    if (out_room(to, 5 * (size_t)places + 8) < 0)
        return -1;
    for (place = 0; place < places; place++) {
        int group = 0, unit;
        if (place < count)
            group = (at[8 + 2 * place] << 8) | at[9 + 2 * place];
        if (group > 9999)
            return lie(bad);
        if (place == weight + 1) {
            to->data[to->used++] = '.';
            begun = 1;
        }
        for (unit = 1000; unit > 0; unit /= 10) {
            int digit = group / unit % 10;
            if (digit || begun) {
                to->data[to->used++] = (unsigned char)('0' + digit);
                begun = 1;
            }
        }
    }
    if (to->used == first)
        return 0;
    to->data[to->used++] = 0;
    entry[0] = (uint32_t)first;
    entry[1] = (uint32_t)(at - g->start);
    entry[2] = (uint32_t)column;
    return out_add(&g->index, entry, sizeof(entry));
}

static PyObject *gather(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *buffer, *looks, *result = NULL;
    const unsigned char *at, *end;
    const char *look;
    Py_ssize_t columns, column;
    Gathered g = {{NULL, 0, 0}, {NULL, 0, 0}, NULL};

    if (!PyArg_ParseTuple(args, "SS", &buffer, &looks))
        return NULL;
    columns = PyBytes_GET_SIZE(looks);
    look = PyBytes_AS_STRING(looks);
    at = g.start = (const unsigned char *)PyBytes_AS_STRING(buffer);
    end = at + PyBytes_GET_SIZE(buffer);
    if ((uint64_t)(end - at) > 0xffffffffu) {
        lie("too much to look at in one run of rows");
        return NULL;
    }
    if (out_room(&g.joined, (size_t)(end - at)) < 0)
        goto failed;
    while (at < end) {
        const unsigned char *stop = row_end(at, end, columns);
        if (stop == NULL)
            goto failed;
        at += HEAD;
        for (column = 0; column < columns; column++) {
            int64_t length = column_length(&at, stop);
            int bad = 0;
            if (length == -2)
                goto failed;
            if (length < 0)
                continue;
            switch (look[column]) {
            case 0:
                break;
            case 3:
                bad = gather_array(&g, column, at, (size_t)length);
                break;
            case 4: {
                char digits[24];
                uint64_t bits;
                int size;
                if (length != 8) {
                    lie("a binary int8 is malformed");
                    goto failed;
                }
                bits = ((uint64_t)get32(at) << 32) | get32(at + 4);
                size = PyOS_snprintf(digits, sizeof(digits), "%s%llu", bits >> 63 ? "-" : "",
                                     (unsigned long long)(bits >> 63 ? ~bits + 1 : bits));
                bad = gather_piece(&g, column, at, digits, (size_t)size);
                break;
            }
            case 5:
                bad = gather_numeric(&g, column, at, (size_t)length);
                break;
            case 2:
                if (length > 0) {
                    bad = gather_piece(&g, column, at + 1, at + 1, (size_t)length - 1);
                    break;
                }
                /* fall through */
            default:
                bad = gather_piece(&g, column, at, at, (size_t)length);
            }
            if (bad < 0)
                goto failed;
            at += length;
        }
        if (at != stop) {
            lie("a DataRow goes on after its columns");
            goto failed;
        }
    }
    result = Py_BuildValue("(y#y#)", g.joined.used ? (const char *)g.joined.data : "",
                           (Py_ssize_t)g.joined.used,
                           g.index.used ? (const char *)g.index.data : "",
                           (Py_ssize_t)g.index.used);
failed:
    PyMem_Free(g.joined.data);
    PyMem_Free(g.index.data);
    return result;
}

static PyObject *walk(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *buffer, *types;
    const unsigned char *start;
    char wanted[256] = {0};
    Py_ssize_t at, size, i;

    if (!PyArg_ParseTuple(args, "SnS", &buffer, &at, &types))
        return NULL;
    if (at < 0)
        return lie("a position is below zero"), NULL;
    for (i = 0; i < PyBytes_GET_SIZE(types); i++)
        wanted[(unsigned char)PyBytes_AS_STRING(types)[i]] = 1;
    start = (const unsigned char *)PyBytes_AS_STRING(buffer);
    size = PyBytes_GET_SIZE(buffer);
    while (at < size && size - at >= 5 && wanted[start[at]]) {
        uint32_t length = get32(start + at + 1);
        if (length < 4 || length > 0x7fffffffu)
            return lie("a frame's length is wrong"), NULL;
        if ((size_t)(size - at - 1) < length)
            break;
        at += 1 + (Py_ssize_t)length;
    }
    return PyLong_FromSsize_t(at);
}

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

static PyMethodDef methods[] = {
    {"mask_lines", mask_lines, METH_VARARGS, "See lineloop.mask_lines."},
    {"mask_rows", mask_rows, METH_VARARGS, "See rowloop.mask_rows."},
    {"gather", gather, METH_VARARGS, "See rowloop.gather."},
    {"walk", walk, METH_VARARGS, "See rowloop.walk."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_rowloop", "The loops over rows, compiled.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__rowloop(void)
{
    return PyModule_Create(&module);
}
