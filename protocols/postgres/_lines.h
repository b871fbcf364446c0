/* The rows of COPY in the formats text and csv: mask_lines and gather_lines, as in lineloop.py.
 *
 * Cells that say what they mean are read and written here; escapes are undone and made by the
 * format's own methods in Python (copylines.py). */
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

/* A format: what copylines.Lines says of itself. */
typedef struct {
    int delimiter, quote, escape;
    PyObject *lines, *null;
} Form;

static int form_of(PyObject *lines, Form *form)
{
    PyObject *marks = PyObject_GetAttrString(lines, "marks");
    int good = 0;
    form->lines = lines;
    form->null = PyObject_GetAttrString(lines, "null");
    if (marks != NULL && form->null != NULL) {
        if (PyTuple_Check(marks) && PyBytes_Check(form->null))
            good = PyArg_ParseTuple(marks, "iii", &form->delimiter, &form->quote, &form->escape);
        else
            PyErr_SetString(PyExc_TypeError, "these are no lines of COPY");
    }
    Py_XDECREF(marks);
    return good ? 0 : -1;
}

static int is_null(const Form *form, const unsigned char *cell, size_t size)
{
    return size == (size_t)PyBytes_GET_SIZE(form->null) &&
           memcmp(cell, PyBytes_AS_STRING(form->null), size) == 0 &&
           (form->quote < 0 || size == 0 || *cell != form->quote);
}

/* Whether the value of a cell that is not NULL stands in it as it is: then at *cell. */
static int plainly_read(const Form *form, const unsigned char **cell, size_t *size)
{
    if (form->quote < 0)
        return *size == 0 || memchr(*cell, '\\', *size) == NULL;
    if (*size < 2 || **cell != form->quote)
        return 1;
    ++*cell; /* what `cell_end` found begins and ends with a quote */
    *size -= 2;
    return *size == 0 || memchr(*cell, form->escape, *size) == NULL;
}

/* What `lines` makes of `size` bytes by `method`; NULL with an error, or where it is None. */
static PyObject *by_lines(const Form *form, const char *method, const unsigned char *from,
                          size_t size)
{
    PyObject *made = PyObject_CallMethod(form->lines, method, "y#", (const char *)from,
                                         (Py_ssize_t)size);
    if (made == Py_None)
        Py_CLEAR(made);
    else if (made != NULL && !PyBytes_Check(made)) {
        PyErr_SetString(PyExc_TypeError, "these are no lines of COPY");
        Py_CLEAR(made);
    }
    return made;
}

/* Whether a value must not stand in a cell as it is. */
static int needs(const Form *form, const unsigned char *value, size_t size)
{
    size_t at;
    int seen = 0;
    for (at = 0; at < size; at++) {
        int byte = value[at];
        if (form->quote < 0)
            seen |= byte == '\\' || (byte >= '\b' && byte <= '\r') || byte == form->delimiter;
        else
            seen |= byte == '\n' || byte == '\r' || byte == form->quote || byte == form->delimiter;
    }
    if (form->quote < 0 || seen)
        return seen;
    return size == 0 || is_null(form, value, size) || (size == 2 && memcmp(value, "\\.", 2) == 0) ||
           Py_ISSPACE(value[0]) || Py_ISSPACE(value[size - 1]);
}

/* Turns the value that `out` has from `head` on into a raw cell. */
static int write_cell(Out *out, const Form *form, size_t head)
{
    PyObject *cell;
    int bad;
    if (!needs(form, out->data + head, out->used - head))
        return 0;
    cell = by_lines(form, "write", out->data + head, out->used - head);
    if (cell == NULL)
        return PyErr_Occurred() ? -1 : lie("a cell can't be written");
    out->used = head;
    bad = out_add(out, PyBytes_AS_STRING(cell), (size_t)PyBytes_GET_SIZE(cell));
    Py_DECREF(cell);
    return bad;
}

static int line_cell(Out *out, const Form *form, PyObject *act, const unsigned char *cell,
                     size_t size)
{
    PyObject *value = NULL;
    const unsigned char *raw = cell;
    size_t head = out->used, whole = size;
    int shown;
    if (PyBytes_Check(act)) /* a raw cell */
        return out_add(out, PyBytes_AS_STRING(act), (size_t)PyBytes_GET_SIZE(act));
    if (!plainly_read(form, &cell, &size)) {
        value = by_lines(form, "read", raw, whole);
        if (value == NULL)
            return PyErr_Occurred() ? -1 : lie("a cell can't be read");
        cell = (const unsigned char *)PyBytes_AS_STRING(value);
        size = (size_t)PyBytes_GET_SIZE(value);
    }
    shown = put_shown(out, act, cell, size);
    Py_XDECREF(value);
    if (shown < 0)
        return -1;
    if (shown == 0)
        return out_add(out, PyBytes_AS_STRING(form->null), (size_t)PyBytes_GET_SIZE(form->null));
    return write_cell(out, form, head);
}

/* The end of the cell at *at in the given column of `columns`; *at moves behind it, and
 * *last tells whether it ends the row. NULL with an error. */
static const unsigned char *next_cell(const Form *form, const unsigned char **at,
                                      const unsigned char *end, Py_ssize_t column,
                                      Py_ssize_t columns, int *last)
{
    const unsigned char *stop = cell_end(*at, end, form->delimiter, form->quote, form->escape);
    if (stop == NULL)
        return NULL;
    *last = *stop == '\n';
    /* A row of no columns is an empty line. */
    if (*last ? column + 1 != columns && !(columns == 0 && column == 0 && stop == *at)
              : column + 1 >= columns) {
        lie("a row of COPY has another number of columns than announced");
        return NULL;
    }
    *at = stop + 1;
    return stop;
}

static PyObject *mask_lines(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *block, *actions, *lines, *result = NULL, *totals = NULL;
    const unsigned char *at, *end, *done;
    int framed, last;
    Py_ssize_t columns, column;
    Py_ssize_t *counts = NULL;
    Form form = {0};
    Out out = {NULL, 0, 0};

    if (!PyArg_ParseTuple(args, "SO!Op", &block, &PyTuple_Type, &actions, &lines, &framed))
        return NULL;
    if (form_of(lines, &form) < 0)
        goto failed;
    columns = PyTuple_GET_SIZE(actions);
    at = (const unsigned char *)PyBytes_AS_STRING(block);
    end = at + PyBytes_GET_SIZE(block);
    counts = PyMem_Calloc((size_t)columns + 1, sizeof(*counts));
    if (counts == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    if (out_room(&out, (size_t)(end - at)) < 0)
        goto failed;
    for (done = at; at < end;) {
        size_t head = out.used;
        if (framed && out_add(&out, "d\0\0\0", 5) < 0)
            goto failed;
        for (column = 0, last = 0; !last; column++) {
            const unsigned char *cell = at;
            const unsigned char *stop = next_cell(&form, &at, end, column, columns, &last);
            PyObject *act;
            if (stop == NULL)
                goto failed;
            if (column >= columns)
                continue;
            act = PyTuple_GET_ITEM(actions, column);
            if (act != Py_None && !is_null(&form, cell, (size_t)(stop - cell))) {
                if (out_add(&out, done, (size_t)(cell - done)) < 0 ||
                    line_cell(&out, &form, act, cell, (size_t)(stop - cell)) < 0)
                    goto failed;
                done = stop;
                counts[column]++;
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
    Py_XDECREF(form.null);
    Py_XDECREF(totals);
    PyMem_Free(counts);
    PyMem_Free(out.data);
    return result;
}

/* One value to look at: joined with what came before, and where its cell is. */
static int gather_cell(Out *joined, Out *index, const Form *form, const unsigned char *start,
                       const unsigned char *cell, size_t size, Py_ssize_t column)
{
    const unsigned char *value = cell;
    size_t length = size;
    PyObject *made = NULL;
    uint32_t entry[4];
    int bad = 0;
    if (!plainly_read(form, &value, &length)) {
        made = by_lines(form, "read", cell, size);
        if (made == NULL)
            return PyErr_Occurred() ? -1 : lie("a cell can't be read");
        value = (const unsigned char *)PyBytes_AS_STRING(made);
        length = (size_t)PyBytes_GET_SIZE(made);
    }
    if (length > 0) {
        entry[0] = (uint32_t)joined->used;
        entry[1] = (uint32_t)(cell - start);
        entry[2] = (uint32_t)(cell - start + (Py_ssize_t)size);
        entry[3] = (uint32_t)column;
        /* No value is longer than its cell, so that they are not more than the block is. */
        if (out_add(joined, value, length) < 0 || out_add(joined, "", 1) < 0 ||
            out_add(index, entry, sizeof(entry)) < 0)
            bad = -1;
    }
    Py_XDECREF(made);
    return bad;
}

static PyObject *gather_lines(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *block, *looks, *lines, *result = NULL;
    const unsigned char *at, *start, *end;
    Py_ssize_t columns, column;
    Form form = {0};
    Out joined = {NULL, 0, 0}, index = {NULL, 0, 0};

    if (!PyArg_ParseTuple(args, "SSO", &block, &looks, &lines))
        return NULL;
    if (form_of(lines, &form) < 0)
        goto failed;
    columns = PyBytes_GET_SIZE(looks);
    at = start = (const unsigned char *)PyBytes_AS_STRING(block);
    end = at + PyBytes_GET_SIZE(block);
    if ((uint64_t)(end - at) > 0x7fffffffu) {
        lie("too much to look at in one run of rows");
        goto failed;
    }
    while (at < end) {
        int last = 0;
        for (column = 0; !last; column++) {
            const unsigned char *cell = at;
            const unsigned char *stop = next_cell(&form, &at, end, column, columns, &last);
            if (stop == NULL)
                goto failed;
            if (column < columns && PyBytes_AS_STRING(looks)[column] &&
                !is_null(&form, cell, (size_t)(stop - cell)) &&
                gather_cell(&joined, &index, &form, start, cell, (size_t)(stop - cell), column) < 0)
                goto failed;
        }
    }
    result = Py_BuildValue("(y#y#)", joined.used ? (const char *)joined.data : "",
                           (Py_ssize_t)joined.used, index.used ? (const char *)index.data : "",
                           (Py_ssize_t)index.used);
failed:
    Py_XDECREF(form.null);
    PyMem_Free(joined.data);
    PyMem_Free(index.data);
    return result;
}

#endif
