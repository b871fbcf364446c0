/* The loops of rowloop.py, lineloop.py and tupleloop.py in C: same arguments, results and errors.
 *
 * Every read of the buffer is behind a comparison with the end of the frame
 * or value that it is in; lengths are compared by subtraction from what is
 * left, so that no sum can overflow. ValueError means the server lied.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_frames.h"
#include "_gather.h"
#include "_lines.h"
#include "_tuples.h"

/* Puts what `act` shows for a value to `out`, length word included. */
static int show(Out *out, PyObject *act, const unsigned char *value, int64_t length)
{
    static const unsigned char null[4] = {0xff, 0xff, 0xff, 0xff};
    size_t head = out->used, size;
    int shown;

    if (out_add(out, null, 4) < 0)
        return -1;
    if (act == Py_Ellipsis)
        return 0;
    shown = put_shown(out, act, value, (size_t)length);
    if (shown <= 0)
        return shown;
    size = out->used - head - 4;
    if (size > 0x7fffffffu)
        return lie("a masked row is too long");
    put32(out->data + head, (uint32_t)size);
    return 0;
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

static PyObject *run_end(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *buffer;
    const unsigned char *start;
    Py_ssize_t at, size;
    unsigned char kind;
    unsigned int least;

    if (!PyArg_ParseTuple(args, "SnbI", &buffer, &at, &kind, &least))
        return NULL;
    if (at < 0)
        return lie("a position is below zero"), NULL;
    start = (const unsigned char *)PyBytes_AS_STRING(buffer);
    size = PyBytes_GET_SIZE(buffer);
    while (at < size && size - at >= 5 && start[at] == kind) {
        uint32_t length = get32(start + at + 1);
        if (length < least || length > 0x7fffffffu || (size_t)(size - at - 1) < length)
            break;
        at += 1 + (Py_ssize_t)length;
    }
    return PyLong_FromSsize_t(at);
}

static PyObject *payloads(PyObject *Py_UNUSED(self), PyObject *buffer)
{
    const unsigned char *at, *end;
    PyObject *result;
    unsigned char *to;

    if (!PyBytes_Check(buffer)) {
        PyErr_SetString(PyExc_TypeError, "frames are bytes");
        return NULL;
    }
    at = (const unsigned char *)PyBytes_AS_STRING(buffer);
    end = at + PyBytes_GET_SIZE(buffer);
    result = PyBytes_FromStringAndSize(NULL, end - at);
    if (result == NULL)
        return NULL;
    to = (unsigned char *)PyBytes_AS_STRING(result);
    while (at < end) {
        uint32_t length = end - at < 5 || *at != 'd' ? 0 : get32(at + 1);
        if (length < 4 || length > 0x7fffffffu || (size_t)(end - at - 1) < length) {
            Py_DECREF(result);
            return lie("not a whole CopyData"), NULL;
        }
        memcpy(to, at + 5, length - 4);
        to += length - 4;
        at += 1 + (size_t)length;
    }
    _PyBytes_Resize(&result, to - (unsigned char *)PyBytes_AS_STRING(result));
    return result;
}

static PyObject *accept(PyObject *Py_UNUSED(self), PyObject *capsule)
{
    PyTypeObject *type = PyCapsule_GetPointer(capsule, MASK_CAPSULE);
    if (type == NULL)
        return NULL;
    mask_type = (PyTypeObject *)Py_NewRef((PyObject *)type);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"mask_lines", mask_lines, METH_VARARGS, "See lineloop.mask_lines."},
    {"gather_lines", gather_lines, METH_VARARGS, "See lineloop.gather_lines."},
    {"mask_rows", mask_rows, METH_VARARGS, "See rowloop.mask_rows."},
    {"gather", gather, METH_VARARGS, "See rowloop.gather."},
    {"payloads", payloads, METH_O, "See lineloop.payloads."},
    {"tuples", tuples, METH_VARARGS, "See tupleloop.tuples."},
    {"as_copy", as_copy, METH_O, "See tupleloop.as_copy."},
    {"run_end", run_end, METH_VARARGS, "See rowloop.run_end."},
    {"accept", accept, METH_O, "Call masks of this type (_masks.TYPE) as C does."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_rowloop", "The loops over rows, compiled.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__rowloop(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made != NULL && PyModule_AddStringConstant(made, "SOURCES", SOURCES) < 0)
        Py_CLEAR(made);
    return made;
}
