/* The masks of gateway/policy/masks.py in C: same values, same shown bytes.
 *
 * Where a value is not ASCII and that matters the reference in Python is called, so that
 * UTF-8 is understood in one place only. Loops in C call `into` of a mask (`_mask.h`).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_mask.h"

static const char REDACTED[] = "[redacted]";

static int redacted(Out *out)
{
    return out_add(out, REDACTED, sizeof(REDACTED) - 1) < 0 ? -1 : 1;
}

static int is_ascii(const unsigned char *value, size_t size)
{
    uint64_t word, all = 0;
    for (; size >= sizeof(word); value += sizeof(word), size -= sizeof(word)) {
        memcpy(&word, value, sizeof(word));
        all |= word;
        if (all & 0x8080808080808080u)
            return 0;
    }
    for (; size > 0; size--)
        all |= *value++;
    return !(all & 0x8080808080808080u);
}

static int by_reference(const Mask *self, const unsigned char *value, size_t size, Out *out)
{
    PyObject *shown, *argument = PyBytes_FromStringAndSize((const char *)value, (Py_ssize_t)size);
    int done = -1;
    if (argument == NULL)
        return -1;
    shown = PyObject_CallOneArg(self->reference, argument);
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

static int keep_last_into(const Mask *self, const unsigned char *value, size_t size, Out *out)
{
    if (size <= self->keep)
        return redacted(out);
    if (!is_ascii(value, size))
        return by_reference(self, value, size, out);
    if (out_add(out, "****", 4) < 0 ||
        out_add(out, value + (size - self->keep), self->keep) < 0)
        return -1;
    return 1;
}

#define LOCAL 1  /* may stand before the at sign */
#define DOMAIN 2 /* may stand in a domain */
#define FIRST 4  /* may begin one */
#define HIGH 8   /* not ASCII */
#define DOMAIN_MAX 253

static unsigned char signs[256];

static void learn_signs(void)
{
    int byte;
    for (byte = 0; byte < 256; byte++) {
        int letter = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
        int digit = byte >= '0' && byte <= '9';
        signs[byte] = (unsigned char)((byte > 0x20 && byte < 0x7f && byte != '@' ? LOCAL : 0) |
                                      (letter || digit ? FIRST | DOMAIN : 0) |
                                      (byte == '.' || byte == '-' ? DOMAIN : 0) |
                                      (byte >= 0x80 ? HIGH : 0));
    }
}

static int partial_email_into(const Mask *self, const unsigned char *value, size_t size, Out *out)
{
    size_t at = 0, dot, domain;
    while (at < size && signs[value[at]] & LOCAL)
        at++;
    /* The reference finds no address either where a byte that ends both parts comes first. */
    if (at < size && signs[value[at]] & HIGH)
        return by_reference(self, value, size, out);
    if (at == 0 || at >= size || value[at] != '@')
        return redacted(out);
    domain = size - at - 1;
    if (domain < 1 || domain > DOMAIN_MAX || !(signs[value[at + 1]] & FIRST))
        return redacted(out);
    for (dot = at + 2; dot < size; dot++)
        if (!(signs[value[dot]] & DOMAIN))
            return redacted(out);
    /* The first character of a local part of one character is all of it. */
    if ((at > 1 && out_add(out, value, 1) < 0) || out_add(out, "***", 3) < 0 ||
        out_add(out, value + at, domain + 1) < 0)
        return -1;
    return 1;
}

static int translated_into(const Mask *self, const unsigned char *value, size_t size, Out *out)
{
    unsigned char *to;
    size_t at;
    if (size == 0)
        return 1;
    if (out_room(out, size) < 0)
        return -1;
    to = out->data + out->used;
    for (at = 0; at < size; at++)
        if (!self->gone[value[at]])
            *to++ = self->table[value[at]];
    out->used = (size_t)(to - out->data);
    return 1;
}

static PyObject *mask_call(PyObject *callable, PyObject *const *args, size_t flags,
                           PyObject *names)
{
    const Mask *self = (const Mask *)callable;
    PyObject *shown = NULL;
    Out out = {NULL, 0, 0};
    if (PyVectorcall_NARGS(flags) != 1 || (names != NULL && PyTuple_GET_SIZE(names)) ||
        !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "a mask takes the bytes of one value");
        return NULL;
    }
    switch (self->into(self, (const unsigned char *)PyBytes_AS_STRING(args[0]),
                       (size_t)PyBytes_GET_SIZE(args[0]), &out)) {
    case 0:
        shown = Py_NewRef(Py_None);
        break;
    case 1:
        shown = PyBytes_FromStringAndSize((const char *)out.data, (Py_ssize_t)out.used);
    }
    PyMem_Free(out.data);
    return shown;
}

static void mask_dealloc(PyObject *self)
{
    Py_XDECREF(((Mask *)self)->reference);
    Py_TYPE(self)->tp_free(self);
}

static PyTypeObject MaskType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "protocols._masks.Mask",
    .tp_doc = "A mask: bytes to bytes or None.",
    .tp_basicsize = sizeof(Mask),
    .tp_dealloc = mask_dealloc,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Mask, call),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

static Mask *new_mask(PyObject *reference,
                      int (*into)(const Mask *, const unsigned char *, size_t, Out *))
{
    Mask *self;
    if (reference != NULL && !PyCallable_Check(reference)) {
        PyErr_SetString(PyExc_TypeError, "a mask's reference must be callable");
        return NULL;
    }
    self = (Mask *)MaskType.tp_alloc(&MaskType, 0);
    if (self == NULL)
        return NULL;
    self->call = mask_call;
    self->into = into;
    self->reference = Py_XNewRef(reference);
    return self;
}

static PyObject *keep_last(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *reference;
    Py_ssize_t keep;
    Mask *self;
    if (!PyArg_ParseTuple(args, "On", &reference, &keep))
        return NULL;
    if (keep < 1) {
        PyErr_SetString(PyExc_ValueError, "as many are kept as there are, but one at least");
        return NULL;
    }
    self = new_mask(reference, keep_last_into);
    if (self != NULL)
        self->keep = (size_t)keep;
    return (PyObject *)self;
}

static PyObject *partial_email(PyObject *Py_UNUSED(module), PyObject *reference)
{
    return (PyObject *)new_mask(reference, partial_email_into);
}

static PyObject *translated(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *table, *gone;
    Py_ssize_t size, count, at;
    Mask *self;
    if (!PyArg_ParseTuple(args, "y#y#", &table, &size, &gone, &count))
        return NULL;
    if (size != 256) {
        PyErr_SetString(PyExc_ValueError, "a table has 256 bytes");
        return NULL;
    }
    self = new_mask(NULL, translated_into);
    if (self == NULL)
        return NULL;
    memcpy(self->table, table, 256);
    for (at = 0; at < count; at++)
        self->gone[(unsigned char)gone[at]] = 1;
    return (PyObject *)self;
}

static PyMethodDef methods[] = {
    {"keep_last", keep_last, METH_VARARGS, "See masks._keep_last."},
    {"partial_email", partial_email, METH_O, "See masks._partial_email."},
    {"translated", translated, METH_VARARGS, "A value's bytes.translate(table, gone)."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_masks", "Masks, compiled.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__masks(void)
{
    PyObject *module, *capsule;
    learn_signs();
    if (PyType_Ready(&MaskType) < 0 || (module = PyModule_Create(&definition)) == NULL)
        return NULL;
    capsule = PyCapsule_New(&MaskType, MASK_CAPSULE, NULL);
    if (capsule == NULL || PyModule_AddObjectRef(module, "TYPE", capsule) < 0 ||
        PyModule_AddStringConstant(module, "SOURCES", SOURCES) < 0)
        Py_CLEAR(module);
    Py_XDECREF(capsule);
    return module;
}
